#include "core/policy.h"

#include <set>

#include <gtest/gtest.h>

namespace egpu::core {
namespace {

// A node of `cards` cards, used to `used` percent in all; the pod adds a share of `percent` on a
// card used to `on` percent.
NodeChange share_on(int cards, int used, int empty, int on, int percent) {
    NodeChange change;
    change.cards = cards;
    change.used_before = used;
    change.used_after = used + percent;
    change.empty_before = empty;
    change.empty_after = empty - (on == 0);
    change.share_cards = 1;
    change.opened = on == 0;
    change.share_used = on + percent;
    return change;
}

NodeChange whole_on(int cards, int used, int empty, int count) {
    NodeChange change;
    change.cards = cards;
    change.used_before = used;
    change.used_after = used + 100 * count;
    change.empty_before = empty;
    change.empty_after = empty - count;
    return change;
}

int score(std::string_view policy, const NodeChange& change) {
    return find_policy(policy)->node_score(change, {});
}

TEST(Policy, TableIsComplete) {
    EXPECT_EQ(policy_names(), "binpack, spread, random");
    EXPECT_EQ(default_policy().name, "binpack");
    EXPECT_EQ(find_policy("Binpack"), nullptr);
    EXPECT_EQ(find_policy(""), nullptr);
}

TEST(Policy, BinpackFillsUsedCardsBeforeOpeningEmptyOnes) {
    // 20 percent: a card left full, a half full one, an empty one on a busy and on an idle node.
    EXPECT_EQ(score("binpack", share_on(8, 80, 7, 80, 20)), 10);
    EXPECT_EQ(score("binpack", share_on(8, 40, 7, 40, 20)), 8);
    EXPECT_EQ(score("binpack", share_on(8, 700, 1, 0, 20)), 3);
    EXPECT_EQ(score("binpack", share_on(8, 0, 8, 0, 20)), 0);
    // Whole cards: the fuller node.
    EXPECT_EQ(score("binpack", whole_on(8, 600, 2, 2)), 10);
    EXPECT_EQ(score("binpack", whole_on(8, 0, 8, 2)), 2);
}

TEST(Policy, SpreadPrefersEmptyCardsAndNodes) {
    EXPECT_EQ(score("spread", share_on(8, 0, 8, 0, 20)), 8);
    EXPECT_EQ(score("spread", share_on(8, 400, 4, 0, 20)), 6);
    EXPECT_EQ(score("spread", share_on(8, 80, 7, 80, 20)), 4);
    EXPECT_EQ(score("spread", whole_on(8, 0, 8, 1)), 8);
    EXPECT_EQ(score("spread", whole_on(8, 700, 1, 1)), 0);
}

TEST(Policy, ScoresStayInTheContract) {
    for (const Policy& policy : policies()) {
        for (int cards = 0; cards <= 16; ++cards) {
            for (int used = 0; used < cards * 100; used += 70) {
                for (int on = 0; on <= 90; on += 10) {
                    const auto change = share_on(cards, used, 0, on, 10);
                    const int value = policy.node_score(change, {1, 2, 3});
                    EXPECT_GE(value, 0) << policy.name;
                    EXPECT_LE(value, kMaxScore) << policy.name;
                }
            }
        }
        EXPECT_GE(policy.node_score({}, {}), 0);
    }
}

TEST(Policy, RandomIsReplayableAndSpreadsOut) {
    const Policy& random = *find_policy("random");
    std::set<int> seen;
    for (std::uint64_t node = 0; node < 200; ++node) {
        const int value = random.node_score({}, {7, 1, node});
        EXPECT_EQ(value, random.node_score(share_on(8, 0, 8, 0, 20), {7, 1, node}));
        seen.insert(value);
    }
    EXPECT_EQ(seen.size(), 11u);
    // Promised across builds: a replay has to give the same.
    EXPECT_EQ(stable_key("node-1"), stable_key("node-1"));
    EXPECT_EQ(stable_key(""), 0xc3817c016ba4ff30ULL);
}

}  // namespace
}  // namespace egpu::core
