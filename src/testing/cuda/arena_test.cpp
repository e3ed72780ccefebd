#include "testing/cuda/arena.h"

#include <cstring>
#include <map>

#include <gtest/gtest.h>

namespace egpu::testing::cuda {
namespace {

TEST(SimArena, random_pieces_do_not_touch_each_other_and_all_is_given_back) {
    constexpr std::uint64_t kAll = 256ULL << 20;
    Arena arena;
    ASSERT_TRUE(arena.open(kAll));
    std::map<std::uint64_t, std::uint64_t> live;
    std::uint64_t charged = 0;
    std::uint64_t random = 88172645463325252ULL;
    const auto next = [&random] {
        random ^= random << 13U;
        random ^= random >> 7U;
        return random ^= random << 17U;
    };
    for (int n = 0; n < 20000; ++n) {
        if (next() % 2 == 0 && !live.empty()) {
            auto it = live.lower_bound(next() % (1ULL << 47U));
            if (it == live.end()) it = live.begin();
            const auto* mark = reinterpret_cast<const std::uint64_t*>(it->first);
            ASSERT_EQ(*mark, it->first);
            charged -= arena.release(it->first, it->second);
            live.erase(it);
            continue;
        }
        const std::uint64_t size = next() % 4 == 0 ? 1 + next() % (8ULL << 20) : 8 + next() % 5000;
        const std::uint64_t charge = arena.charge_of(size);
        const std::uint64_t address = arena.allocate(size);
        if (address == 0) continue;
        charged += charge;
        ASSERT_EQ(address % 512, 0U);
        const auto after = live.lower_bound(address);
        ASSERT_TRUE(after == live.end() || after->first >= address + size);
        ASSERT_TRUE(
            after == live.begin() || std::prev(after)->first + std::prev(after)->second <= address
        );
        std::memcpy(reinterpret_cast<void*>(address), &address, sizeof address);
        live[address] = size;
    }
    EXPECT_GT(live.size(), 10U);
    for (const auto& [address, size] : live) charged -= arena.release(address, size);
    EXPECT_EQ(charged, 0U);
    EXPECT_NE(arena.allocate(kAll), 0U);  // in one piece again
    EXPECT_EQ(arena.allocate(1), 0U);
}

}  // namespace
}  // namespace egpu::testing::cuda
