#include "core/string_pool.h"

#include <map>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

TEST(StringPool, CountsUsers) {
    StringPool pool;
    EXPECT_EQ(pool.acquire(""), 0u);
    const StringId a = pool.acquire("GPU-a");
    EXPECT_EQ(pool.acquire("GPU-a"), a);
    EXPECT_EQ(pool.text(a), "GPU-a");
    pool.release(a);
    EXPECT_EQ(pool.size(), 1u);
    pool.release(a);
    EXPECT_EQ(pool.size(), 0u);
    pool.release(0);
    EXPECT_EQ(pool.acquire("GPU-b"), a);  // the slot is used again
}

// Against std::map, with few names so that probing chains grow, wrap and are torn apart.
TEST(FlatIndex, AgreesWithAMapUnderChurn) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    FlatIndex index;
    std::map<std::uint32_t, std::uint32_t> truth;  // slot to hash
    for (int step = 0; step < 50000; ++step) {
        const auto slot = static_cast<std::uint32_t>(random.below(300));
        const std::uint32_t hash = slot % 7 * 0x10000001u + slot / 50;  // many collisions
        if (truth.contains(slot)) {
            index.erase(hash, slot);
            truth.erase(slot);
        } else {
            index.insert(hash, slot);
            truth[slot] = hash;
        }
        ASSERT_EQ(index.size(), truth.size());
        if (step % 100 != 0) continue;
        for (std::uint32_t s = 0; s < 300; ++s) {
            const std::uint32_t h = s % 7 * 0x10000001u + s / 50;
            const bool found = index.find(h, [&](std::uint32_t x) { return x == s; }) == s;
            ASSERT_EQ(found, truth.contains(s));
        }
    }
}

}  // namespace
}  // namespace egpu::core
