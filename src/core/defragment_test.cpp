#include "core/defragment.h"

#include <functional>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "core/cluster_for_test.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

using testing::HasSubstr;

class DefragmentTest : public ::testing::Test, public ClusterBuilder {
  protected:
    FreeCardsPlan free(int cards, bool anywhere = false, std::vector<std::string> models = {}) {
        uses_ = cluster_use(cluster);
        FreeCardsPlan plan = plan_free_cards(cluster, uses_, {cards, anywhere, std::move(models)});
        if (plan.possible) check(plan, cards, anywhere);
        return plan;
    }
    // "p: a -> b[0]"
    std::vector<std::string> moves(const FreeCardsPlan& plan) const {
        std::vector<std::string> out;
        for (const PodMove& move : plan.moves) {
            std::string text =
                cluster.pods[move.pod].id.name + ": " + name(move.from) + " -> " + name(move.to);
            for (const int card : move.cards) text += "[" + std::to_string(card) + "]";
            out.push_back(text);
        }
        return out;
    }
    std::string name(int use) const { return cluster.nodes[uses_[use].node].name; }

    // The plan does what it says, by plain arithmetic.
    void check(const FreeCardsPlan& plan, int cards, bool anywhere) {
        std::vector<std::vector<int>> used;
        std::vector<HostAmounts> host;
        for (const NodeUse& use : uses_) {
            used.emplace_back();
            for (const CardState& state : use.cards) used.back().push_back(state.used_percent);
            host.push_back(use.host_free);
        }
        std::set<int> moved;
        for (const PodMove& move : plan.moves) {
            const ClusterPod& pod = cluster.pods[move.pod];
            EXPECT_TRUE(moved.insert(move.pod).second);
            EXPECT_EQ(pod.node, name(move.from));
            EXPECT_EQ(pinned_by(pod), "");
            EXPECT_TRUE(cluster.nodes[uses_[move.to].node].open());
            for (const HeldPod& held : uses_[move.from].pods) {
                if (held.pod != move.pod) continue;
                for (const CardUse& use : held.uses) used[move.from][use.card] -= use.percent;
            }
            host[move.from].cpu_milli += pod.request.host.cpu_milli;
            host[move.to].cpu_milli -= pod.request.host.cpu_milli;
            const int percent = pod.request.containers[0].percent;
            ASSERT_EQ(static_cast<int>(move.cards.size()), pod.request.containers[0].cards);
            for (const int card : move.cards) {
                EXPECT_TRUE(uses_[move.to].cards[card].card.healthy);
                used[move.to][card] += percent;
            }
        }
        int free = 0;
        for (std::size_t node = 0; node < used.size(); ++node) {
            if (uses_[node].host_free.cpu_milli != kHostUnlimited) {
                EXPECT_GE(
                    host[node].cpu_milli, std::min<std::int64_t>(0, uses_[node].host_free.cpu_milli)
                );
            }
            for (std::size_t card = 0; card < used[node].size(); ++card) {
                EXPECT_LE(used[node][card], 100);
                const bool here = anywhere || plan.node == static_cast<int>(node);
                const bool counts = here && uses_[node].cards[card].card.healthy &&
                                    cluster.nodes[uses_[node].node].open();
                if (used[node][card] == 0 && counts) ++free;
            }
        }
        EXPECT_GE(free, cards);
    }

    std::vector<NodeUse> uses_;
};

TEST_F(DefragmentTest, nothing_to_do_when_there_is_enough) {
    node("a", 4);
    pod("p", "a", 50, {0});
    const auto plan = free(3);
    EXPECT_TRUE(plan.possible);
    EXPECT_TRUE(plan.smallest);
    EXPECT_EQ(plan.free_now, 3);
    EXPECT_TRUE(plan.moves.empty());
}

TEST_F(DefragmentTest, the_fewest_pods_then_the_least_gpu) {
    node("a", 2);
    node("b", 2);
    pod("a0", "a", 30, {0});
    pod("a1", "a", 40, {1});
    pod("b0", "b", 20, {0});
    pod("b1", "b", 60, {1});
    EXPECT_EQ(moves(free(1)), std::vector<std::string>{"b0: b -> a[1]"});
    const auto two = free(2);
    EXPECT_TRUE(two.smallest);
    EXPECT_EQ(name(two.node), "a");
    EXPECT_EQ(two.moves.size(), 2U);
}

TEST_F(DefragmentTest, cpu_models_and_cordons_are_respected) {
    node("a", 1);
    node("b", 1, "NVIDIA A10");
    node("c", 1, "Tesla T4", {1000, kHostUnlimited});
    node("d", 1).schedulable = false;
    pod("pa", "a", 30, {0}, {2000, 0}).request.models = {"T4"};
    pod("pb", "b", 30, {0}).request.models = {"A10"};
    pod("pc", "c", 30, {0}, {500, 0}).request.models = {"T4"};
    // pa: b is another model, c has no CPU, d is cordoned. pc fits on a.
    EXPECT_EQ(moves(free(1)), std::vector<std::string>{"pc: c -> a[0]"});
    EXPECT_EQ(free(1, false, {"A10"}).possible, false);
    EXPECT_THAT(free(1, false, {"A10"}).why_not, HasSubstr("ns/pb"));
    EXPECT_THAT(free(2).why_not, HasSubstr("no node that takes pods has more than 1"));
}

TEST_F(DefragmentTest, pods_that_nobody_would_make_again_elsewhere_stay) {
    node("a", 1);
    node("b", 1);
    pod("pa", "a", 30, {0}).owner = "DaemonSet";
    pod("pb", "b", 30, {0}).owner = "Node";
    const auto plan = free(1);
    EXPECT_FALSE(plan.possible);
    EXPECT_THAT(plan.why_not, HasSubstr("1 DaemonSet, 1 static pod"));
}

TEST_F(DefragmentTest, a_pod_over_several_cards_is_one_move) {
    node("a", 4);
    node("b", 4);
    pod("wide", "a", 100, {0, 1, 2});
    pod("s", "a", 10, {3});
    pod("t", "b", 10, {0});
    const auto plan = free(4);  // 3 cards of b for wide, and s beside t
    EXPECT_TRUE(plan.possible);
    EXPECT_EQ(name(plan.node), "b");
    EXPECT_EQ(moves(plan), std::vector<std::string>{"t: b -> a[3]"});
}

TEST_F(DefragmentTest, anywhere_adds_up_over_nodes) {
    for (const char* name : {"a", "b", "c"}) node(name, 2);
    pod("pa", "a", 30, {0});
    pod("pb", "b", 30, {0});
    pod("pc", "c", 30, {0});
    EXPECT_EQ(free(3, true).free_now, 3);
    const auto plan = free(5, true);
    EXPECT_TRUE(plan.possible);
    EXPECT_TRUE(plan.smallest);
    EXPECT_EQ(plan.moves.size(), 2U);
    EXPECT_FALSE(free(6, true).possible);
    EXPECT_THAT(free(7, true).why_not, HasSubstr("6 healthy cards together"));
}

TEST_F(DefragmentTest, anywhere_in_a_large_cluster) {
    for (int i = 0; i < 40; ++i) {
        const std::string name = "n" + std::to_string(i);
        node(name, 1);
        pod("p" + std::to_string(i), name, 20, {0});
    }
    const auto plan = free(32, true);  // five on each of eight cards
    EXPECT_TRUE(plan.possible);
    EXPECT_TRUE(plan.smallest);
    EXPECT_EQ(plan.moves.size(), 32U);
    EXPECT_THAT(free(33, true).why_not, HasSubstr("32 cards"));
}

// Every set of pods and every card for each of them.
int fewest_by_trying_all(const Cluster& cluster, const std::vector<NodeUse>& uses, int cards) {
    const int pods = static_cast<int>(cluster.pods.size());
    int fewest = -1;
    for (std::uint32_t set = 0; set < 1U << pods; ++set) {
        std::vector<std::vector<int>> used;
        for (const NodeUse& use : uses) {
            used.emplace_back();
            for (const CardState& state : use.cards) used.back().push_back(state.used_percent);
        }
        std::vector<int> moving;
        for (int pod = 0; pod < pods; ++pod) {
            if ((set >> pod & 1) == 0) continue;
            moving.push_back(pod);
            for (std::size_t node = 0; node < uses.size(); ++node) {
                for (const HeldPod& held : uses[node].pods) {
                    if (held.pod == pod) used[node][held.uses[0].card] -= held.uses[0].percent;
                }
            }
        }
        for (std::size_t target = 0; target < uses.size(); ++target) {
            const auto empties = std::count(used[target].begin(), used[target].end(), 0);
            if (empties < cards) continue;
            auto state = used;
            const std::function<bool(std::size_t)> place = [&](std::size_t next) {
                if (next == moving.size()) {
                    return std::count(state[target].begin(), state[target].end(), 0) >= cards;
                }
                const int percent = cluster.pods[moving[next]].request.containers[0].percent;
                for (auto& node : state) {
                    for (int& card : node) {
                        if (card + percent > 100) continue;
                        card += percent;
                        if (place(next + 1)) return true;
                        card -= percent;
                    }
                }
                return false;
            };
            if (place(0) && (fewest < 0 || static_cast<int>(moving.size()) < fewest)) {
                fewest = static_cast<int>(moving.size());
            }
        }
    }
    return fewest;
}

TEST_F(DefragmentTest, random_clusters_against_trying_everything) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    int compared = 0;
    for (int round = 0; round < 150; ++round) {
        cluster = {};
        const int nodes = random.between(1, 3);
        std::map<std::pair<int, int>, int> used;
        for (int n = 0; n < nodes; ++n) node("n" + std::to_string(n), random.between(1, 2));
        const int pods = random.between(1, 5);
        for (int p = 0; p < pods; ++p) {
            const int n = random.between(0, nodes - 1);
            const int c =
                random.between(0, static_cast<int>(cluster.nodes[n].inventory.cards.size()) - 1);
            const int percent = random.between(2, 9) * 10;
            if (used[{n, c}] + percent > 100) continue;
            used[{n, c}] += percent;
            pod("p" + std::to_string(p), "n" + std::to_string(n), percent, {c});
        }
        for (int cards = 1; cards <= 2; ++cards) {
            const auto plan = free(cards);
            const int fewest = fewest_by_trying_all(cluster, uses_, cards);
            if (fewest < 0) {
                EXPECT_FALSE(plan.possible);
                continue;
            }
            // With three and more pods the planner's choice of a card may be the wrong one, and
            // moving a pod only to make room is not looked at.
            if (fewest > 1) continue;
            ++compared;
            EXPECT_TRUE(plan.possible) << plan.why_not;
            EXPECT_EQ(static_cast<int>(plan.moves.size()), fewest);
        }
    }
    EXPECT_GT(compared, 50);
}

}  // namespace
}  // namespace egpu::core
