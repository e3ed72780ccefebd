#include "isolation/ledger_copy.h"

#include <cstring>
#include <fstream>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/random.h"
#include "testing/temp_folder.h"

namespace egpu::isolation {
namespace {

using ::testing::HasSubstr;

class LedgerCopyTest : public ::testing::Test {
  protected:
    void write(const guard::Ledger& ledger) {
        std::ofstream out(path_, std::ios::binary | std::ios::trunc);
        out.write(reinterpret_cast<const char*>(&ledger), sizeof ledger);
    }
    testing::TempFolder folder_;
    std::filesystem::path path_ = folder_ / "ledger";
};

TEST_F(LedgerCopyTest, ANewOneIsEmptyAndWritableForAll) {
    ASSERT_TRUE(make_ledger(path_).ok());
    ASSERT_TRUE(make_ledger(path_).ok());
    struct stat info {};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0666U);
    const auto copy = read_ledger(path_);
    ASSERT_TRUE(copy.ok()) << copy.error().message;
    EXPECT_EQ(copy->processes, 0);
    EXPECT_EQ(copy->cards[0].used_bytes, 0U);
}

TEST_F(LedgerCopyTest, SumsTheLivingProcesses) {
    const auto ledger = std::make_unique<guard::Ledger>();
    ledger->magic = guard::kLedgerMagic;
    ledger->abi_major = guard::kAbiMajor;
    ledger->totals[1].word = (std::uint64_t{5} << guard::kUnitBits) | 2048;  // an epoch, and 1 MiB
    ledger->totals[1].peak_units = 4096;
    ledger->totals[1].refused = 3;
    ledger->slots[0].live = 100;
    ledger->slots[0].compute[1].launches = 10;
    ledger->slots[0].compute[1].charged_ns = 5000;
    ledger->slots[0].stats.uncovered = 2;
    ledger->slots[7].live = guard::kHeldByPid | 200;
    ledger->slots[7].compute[1].launches = 1;
    ledger->slots[8].live = guard::kOwnerDied | 300;
    ledger->slots[8].compute[1].launches = 1000;
    write(*ledger);
    const auto copy = read_ledger(path_);
    ASSERT_TRUE(copy.ok()) << copy.error().message;
    EXPECT_EQ(copy->processes, 2);
    EXPECT_EQ(copy->uncovered, 2U);
    EXPECT_EQ(copy->cards[1].used_bytes, 1U << 20);
    EXPECT_EQ(copy->cards[1].peak_bytes, 2U << 20);
    EXPECT_EQ(copy->cards[1].refused, 3U);
    EXPECT_EQ(copy->cards[1].launches, 11U);
    EXPECT_EQ(copy->cards[1].charged_ns, 5000U);
}

// Most memory is booked in the stock of its process (guard/memory_stock.h); what is spare there is
// nobody's.
TEST_F(LedgerCopyTest, StocksCountAsTheirProcesses) {
    constexpr std::uint64_t kMib = 1U << 20;
    constexpr std::uint64_t kUnits = kMib / guard::kUnitBytes;
    const auto ledger = std::make_unique<guard::Ledger>();
    ledger->magic = guard::kLedgerMagic;
    ledger->abi_major = guard::kAbiMajor;
    ledger->slots_so_far = 1;
    ledger->totals[1].word = 7 * kUnits;
    ledger->slots[0].live = 100;
    ledger->slots[0].used[1] = 2 * kMib;
    ledger->stocks[0].shards[0].word[1] = (3 * kUnits) << guard::kSpareBits | kUnits;
    ledger->stocks[0].shards[3].word[1] = (2 * kUnits) << guard::kSpareBits;
    write(*ledger);
    const auto copy = read_ledger(path_);
    ASSERT_TRUE(copy.ok()) << copy.error().message;
    ASSERT_EQ(copy->claims.size(), 1U);
    EXPECT_EQ(copy->claims[0].used_bytes[1], 6 * kMib);
    EXPECT_EQ(copy->cards[1].slots_bytes, 6 * kMib);
    EXPECT_EQ(copy->cards[1].used_bytes, 6 * kMib);
}

TEST_F(LedgerCopyTest, WhateverAContainerWritesIsReadOrRefused) {
    EXPECT_EQ(read_ledger(path_).error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(make_ledger(path_).ok());
    ASSERT_EQ(::truncate(path_.c_str(), 4096), 0);
    EXPECT_THAT(read_ledger(path_).error().message, HasSubstr("another size"));
    ASSERT_TRUE(make_ledger(path_).ok());  // the agent's repair
    EXPECT_TRUE(read_ledger(path_).ok());
    std::filesystem::remove(path_);
    ASSERT_EQ(::mkfifo(path_.c_str(), 0666), 0);
    EXPECT_FALSE(read_ledger(path_).ok());  // and does not wait for a writer
    std::filesystem::remove(path_);

    Random random(20261126);
    std::string noise(sizeof(guard::Ledger), '\0');
    for (int round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i + 8 <= noise.size(); i += 8) {
            const std::uint64_t word = random.chance(0.1) ? ~std::uint64_t{0} : random();
            std::memcpy(&noise[i], &word, sizeof word);
        }
        std::memcpy(noise.data(), &guard::kLedgerMagic, sizeof guard::kLedgerMagic);
        const std::uint32_t major = guard::kAbiMajor;
        std::memcpy(&noise[8], &major, sizeof major);
        ASSERT_TRUE(write_file_atomically(path_, noise));
        const auto copy = read_ledger(path_);
        ASSERT_TRUE(copy.ok());
        EXPECT_LE(copy->processes, static_cast<int>(guard::kSlots));
        EXPECT_LE(copy->cards[0].used_bytes, guard::kUnitMask * guard::kUnitBytes);
    }
}

TEST_F(LedgerCopyTest, TellsWhoHoldsASlotAndWhatItClaims) {
    const auto ledger = std::make_unique<guard::Ledger>();
    ledger->magic = guard::kLedgerMagic;
    ledger->abi_major = guard::kAbiMajor;
    ledger->slots[0].live = 100;
    ledger->slots[0].holder = std::uint64_t{100} << 32 | 42;
    ledger->slots[0].start_time = 777;
    ledger->slots[0].pid_namespace = 4026531836;
    ledger->slots[0].used[2] = 4096;
    ledger->slots[1].live = 101;  // what stands there is of who had it before
    ledger->slots[1].holder = std::uint64_t{99} << 32 | 41;
    ledger->slots[1].used[2] = 512;
    ledger->slots[2].live = 102 | guard::kOwnerDied;
    ledger->slots[guard::kSpillSlot].live = 103;
    ledger->slots[guard::kSpillSlot].used[2] = 1024;
    write(*ledger);
    auto copy = read_ledger(path_);
    ASSERT_TRUE(copy.ok());
    ASSERT_EQ(copy->claims.size(), 2U);
    EXPECT_EQ(copy->claims[0].pid, 42U);
    EXPECT_EQ(copy->claims[0].start_time, 777U);
    EXPECT_EQ(copy->claims[0].pid_namespace, 4026531836U);
    EXPECT_EQ(copy->claims[0].used_bytes[2], 4096U);
    EXPECT_EQ(copy->claims[1].pid, 0U);
    EXPECT_EQ(copy->cards[2].slots_bytes, 4096U + 512 + 1024);
    // The shared slot alone proves nothing: anybody can write it.
    EXPECT_FALSE(copy->spilled);
    for (unsigned i = 0; i < guard::kSpillSlot; ++i) ledger->slots[i].live = 100 + i;
    write(*ledger);
    copy = read_ledger(path_);
    ASSERT_TRUE(copy.ok());
    EXPECT_TRUE(copy->spilled);
}

}  // namespace
}  // namespace egpu::isolation
