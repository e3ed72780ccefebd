#include "guard/limits.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "guard/array_size.h"
#include "guard/limits_writer.h"
#include "guard/process_slot.h"
#include "guard/uuid_text.h"

namespace egpu::guard {
namespace {

std::unique_ptr<LimitsPage> valid_page() {
    auto page = std::make_unique<LimitsPage>();
    page->magic = kLimitsMagic;
    page->abi_major = kAbiMajor;
    page->struct_size = sizeof(LimitsPage);
    for (LimitsBody& body : page->body) {
        body.device_count = 2;
        body.devices[0].uuid[0] = 1;
        body.devices[1].uuid[0] = 2;
        body.devices[1].mem_hard = 4096;
    }
    return page;
}

TEST(Limits, SaysWhatIsWrongWithAPage) {
    auto page = valid_page();
    EXPECT_EQ(why_invalid(*page, kLimitsFileSize), nullptr);
    EXPECT_NE(why_invalid(*page, 100), nullptr);
    page->magic = 0;
    EXPECT_NE(why_invalid(*page, kLimitsFileSize), nullptr);
    page = valid_page();
    page->abi_major = kAbiMajor + 1;
    EXPECT_NE(why_invalid(*page, kLimitsFileSize), nullptr);
    page = valid_page();
    page->struct_size = 8;
    EXPECT_NE(why_invalid(*page, kLimitsFileSize), nullptr);
    page = valid_page();
    page->body[0].device_count = 17;
    EXPECT_NE(why_invalid(*page, kLimitsFileSize), nullptr);
    page->generation = 1;  // the other body is the current one
    EXPECT_EQ(why_invalid(*page, kLimitsFileSize), nullptr);
}

TEST(Limits, FindsCardsByUuid) {
    const auto page = valid_page();
    std::uint8_t uuid[16] = {2};
    EXPECT_EQ(find_device(*page, uuid), 1);
    uuid[15] = 1;
    EXPECT_EQ(find_device(*page, uuid), -1);
}

// The writer never waits for readers and may die anywhere: what readers get is always one whole
// version.
TEST(Limits, ReadersGetOneVersionWhole) {
    const auto page = valid_page();
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (std::uint32_t n = 0; !stop; ++n) {
            LimitsBody body{};
            body.device_count = 2;
            DeviceLimits& to = body.devices[1];
            to.mem_hard = n;
            to.mem_soft = n;
            to.overhead_bytes = n;
            std::memset(to.reserved, static_cast<int>(n), sizeof to.reserved);
            publish(*page, body);
        }
    });
    int read = 0;
    for (int i = 0; i < 300'000; ++i) {
        DeviceLimits seen{};
        seen.mem_hard = 7;
        if (!read_device(*page, 1, seen)) {
            EXPECT_EQ(seen.mem_hard, 7U);
            continue;
        }
        ++read;
        if (seen.mem_soft == 0) continue;  // the first version
        ASSERT_EQ(seen.mem_hard, seen.mem_soft);
        ASSERT_EQ(seen.mem_hard, seen.overhead_bytes);
        ASSERT_EQ(
            seen.reserved[sizeof seen.reserved - 1], static_cast<std::uint8_t>(seen.mem_hard)
        );
    }
    stop = true;
    writer.join();
    EXPECT_GT(read, 1000);
}

TEST(Limits, OverheadLowersTheLimitAndNeverWrapsIt) {
    DeviceLimits limits{};
    limits.mem_hard = 1000;
    limits.overhead_bytes = 300;
    EXPECT_EQ(effective_limit(memory_part(limits), false), 1000U);
    limits.flags = kChargeOverhead;
    EXPECT_EQ(effective_limit(memory_part(limits), false), 700U);
    limits.overhead_bytes = 2000;
    EXPECT_EQ(effective_limit(memory_part(limits), false), 0U);
    limits.mem_soft = 5000;
    EXPECT_EQ(effective_limit(memory_part(limits), true), 0U);
    limits.flags |= kManagedOvercommit;
    EXPECT_EQ(effective_limit(memory_part(limits), true), 3000U);
    EXPECT_EQ(effective_limit(memory_part(limits), false), 0U);
    limits.mem_hard = kUnlimited;
    EXPECT_EQ(effective_limit(memory_part(limits), false), kUnlimited);
}

TEST(Limits, ReadsHamisSizes) {
    std::uint64_t bytes = 0;
    EXPECT_TRUE(parse_size("3000m", bytes));
    EXPECT_EQ(bytes, 3000ULL << 20U);
    EXPECT_TRUE(parse_size("2G", bytes));
    EXPECT_EQ(bytes, 2ULL << 30U);
    EXPECT_TRUE(parse_size("512", bytes));
    EXPECT_EQ(bytes, 512U);
    for (const char* wrong :
         {"", "m", "-1", "1x", "1mm", "99999999999999999999", "18446744073709551615g"}) {
        EXPECT_FALSE(parse_size(wrong, bytes)) << wrong;
    }
}

TEST(ArraySize, CountsElementsChannelsAndLevels) {
    using namespace egpu::cuda;
    CUDA_ARRAY3D_DESCRIPTOR shape{1024, 1024, 0, CU_AD_FORMAT_FLOAT, 4, 0};
    EXPECT_EQ(array_bytes(shape), 16ULL << 20U);
    shape.Depth = 3;
    EXPECT_EQ(array_bytes(shape), 48ULL << 20U);
    shape.Flags = CUDA_ARRAY3D_SPARSE;
    EXPECT_EQ(array_bytes(shape), 0U);
    EXPECT_EQ(mipmap_bytes(shape, 3), 0U);
    const CUDA_ARRAY3D_DESCRIPTOR small{1, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    EXPECT_EQ(array_bytes(small), 64U << 10U);
    const CUDA_ARRAY3D_DESCRIPTOR square{1024, 1024, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    EXPECT_EQ(mipmap_bytes(square, 2), (1024U * 1024 + 512 * 512));
    const CUDA_ARRAY3D_DESCRIPTOR huge{
        ~std::size_t{0}, ~std::size_t{0}, 2, CU_AD_FORMAT_FLOAT, 4, 0};
    EXPECT_GT(array_bytes(huge), 1ULL << 60U);
}

TEST(UuidText, ReadsCardsAndMigInstances) {
    std::uint8_t bytes[16] = {};
    EXPECT_TRUE(parse_uuid("GPU-00112233-4455-6677-8899-aabbccddeeff", bytes));
    EXPECT_EQ(bytes[0], 0x00);
    EXPECT_EQ(bytes[15], 0xff);
    EXPECT_TRUE(parse_uuid("MIG-ffeeddcc-4455-6677-8899-AABBCCDDEEFF", bytes));
    EXPECT_EQ(bytes[0], 0xff);
    EXPECT_FALSE(parse_uuid("GPU-0011", bytes));
    EXPECT_FALSE(parse_uuid("MIG-GPU-00112233-4455-6677-8899-aabbccddeeff/1/0", bytes));
    EXPECT_FALSE(parse_uuid("", bytes));
}

TEST(ProcessStat, IsReadBehindTheLastBracket) {
    char state = 0;
    std::uint64_t threads = 0;
    const std::string tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 9 18 4711 20";
    EXPECT_EQ(parse_stat(("12 (a Z)" + tail).c_str(), state, threads), 4711U);
    EXPECT_EQ(state, 'S');
    EXPECT_EQ(threads, 9U);
    EXPECT_EQ(parse_stat(("12 (evil) Z 1 (x)" + tail).c_str(), state, threads), 4711U);
    EXPECT_EQ(state, 'S');
    EXPECT_EQ(parse_stat("12 (cut) S 1 2", state, threads), 0U);
    EXPECT_EQ(parse_stat("", state, threads), 0U);
}

}  // namespace
}  // namespace egpu::guard
