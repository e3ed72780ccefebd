#include "gpu/ld_cache.h"

#include <gtest/gtest.h>

#include "base/file_view.h"

namespace egpu::gpu {
namespace {

std::string cache_of(const char* name) {
    const auto tree =
        RecordedView::load(std::string(EDGE_GPU_TEST_DATA "/drivers/") + name + ".txt");
    return (*tree)->read("/etc/ld.so.cache").value();
}

TEST(LdCache, new_form) {
    const auto entries = parse_ld_cache(cache_of("450.102.04-ubuntu"));
    ASSERT_TRUE(entries.ok()) << entries.error().message;
    ASSERT_EQ(entries->size(), 3U);
    EXPECT_EQ(
        entries->at(0),
        (LdCacheEntry{"libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", true})
    );
    EXPECT_FALSE(entries->at(1).is_64bit);
}

TEST(LdCache, new_form_behind_the_old_one) {
    const auto entries = parse_ld_cache(cache_of("535.161.08-ld-cache"));
    ASSERT_TRUE(entries.ok()) << entries.error().message;
    EXPECT_EQ(entries->at(0).path, "/opt/drivers/lib/libcuda.so.1");
}

TEST(LdCache, every_cut_is_an_error_and_no_crash) {
    for (const char* name : {"450.102.04-ubuntu", "535.161.08-ld-cache"}) {
        const std::string whole = cache_of(name);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            EXPECT_FALSE(parse_ld_cache(whole.substr(0, size)).ok()) << size;
        }
    }
    std::string many = cache_of("450.102.04-ubuntu");
    many[22] = 'x';  // the number of entries
    EXPECT_FALSE(parse_ld_cache(many).ok());
    EXPECT_FALSE(parse_ld_cache("ELF").ok());
}

// The cache of the machine that runs the test, where it has one.
TEST(LdCache, of_this_machine) {
    const auto bytes = HostView().read("/etc/ld.so.cache", 16U << 20);
    if (!bytes) GTEST_SKIP() << bytes.error().message;
    const auto entries = parse_ld_cache(*bytes);
    ASSERT_TRUE(entries.ok()) << entries.error().message;
    bool libc = false;
    for (const auto& entry : *entries) libc = libc || entry.name == "libc.so.6";
    EXPECT_TRUE(libc);
}

}  // namespace
}  // namespace egpu::gpu
