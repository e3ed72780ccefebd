#include "core/topology.h"

#include <bit>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "core/ledger.h"
#include "core/planner.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A DGX-1's hybrid cube mesh: six NVLinks a card, two fully connected quads.
constexpr int kCubeMesh[8][8] = {
    {0, 1, 1, 2, 2, 0, 0, 0},
    {1, 0, 2, 1, 0, 2, 0, 0},
    {1, 2, 0, 2, 0, 0, 1, 0},
    {2, 1, 2, 0, 0, 0, 0, 1},
    {2, 0, 0, 0, 0, 1, 1, 2},
    {0, 2, 0, 0, 1, 0, 2, 1},
    {0, 0, 1, 0, 1, 2, 0, 2},
    {0, 0, 0, 1, 2, 1, 2, 0},
};

Link cube_mesh_link(int a, int b) {
    const PciePath path = a / 4 != b / 4   ? PciePath::kSystem
                          : a / 2 != b / 2 ? PciePath::kHostBridge
                                           : PciePath::kSwitch;
    return make_link(path, kCubeMesh[a][b]);
}

// The free ones of a DGX-1.
CloseCards cube_mesh(const std::vector<int>& free) {
    CloseCards close(static_cast<int>(free.size()));
    for (int a = 0; a < static_cast<int>(free.size()); ++a) {
        for (int b = a + 1; b < static_cast<int>(free.size()); ++b) {
            close.set(a, b, cube_mesh_link(free[a], free[b]));
        }
    }
    return close;
}

std::vector<Card> dgx1() {
    std::vector<Card> cards(8);
    for (int i = 0; i < 8; ++i) {
        cards[i].index = i;
        cards[i].uuid = "GPU-" + std::to_string(i);
    }
    for (int a = 0; a < 8; ++a) {
        for (int b = a + 1; b < 8; ++b) set_link(cards[a], cards[b], cube_mesh_link(a, b));
    }
    return cards;
}

TEST(Link, survives_its_byte) {
    const Link link = make_link(PciePath::kSwitches, 18);
    EXPECT_EQ(path_of(link), PciePath::kSwitches);
    EXPECT_EQ(nvlinks_of(link), 18);
    EXPECT_EQ(link_score(link), 1840);
    EXPECT_EQ(nvlinks_of(make_link(PciePath::kBoard, 99)), kMostNvlinks);
    EXPECT_EQ(nvlinks_of(make_link(PciePath::kBoard, -1)), 0);
    EXPECT_EQ(path_of(Link{7}), PciePath::kUnknown);
    EXPECT_EQ(link_score(0), 0);
}

TEST(Link, numa_nodes_tell_where_nothing_else_does) {
    std::vector<Card> cards(3);
    for (int i = 0; i < 3; ++i) cards[i].index = i;
    EXPECT_EQ(link_between(cards[0], cards[1]), 0);
    cards[0].numa = cards[1].numa = 0;
    cards[2].numa = 1;
    EXPECT_EQ(path_of(link_between(cards[0], cards[1])), PciePath::kNumaNode);
    EXPECT_EQ(path_of(link_between(cards[0], cards[2])), PciePath::kSystem);
    EXPECT_EQ(link_matrix(cards).size(), 9U);
    set_link(cards[0], cards[2], make_link(PciePath::kSwitch, 0));
    EXPECT_EQ(path_of(link_between(cards[2], cards[0])), PciePath::kSwitch);
}

TEST(LinkMatrix, nothing_where_all_pairs_are_alike_or_nobody_can_count_them) {
    EXPECT_THAT(link_matrix(std::vector<Card>(2)), IsEmpty());
    std::vector<Card> many(kLinkedCards + 1);
    for (int i = 0; i < static_cast<int>(many.size()); ++i) {
        many[i].index = i;
        many[i].numa = i % 2;
    }
    EXPECT_THAT(link_matrix(many), IsEmpty());
    many.pop_back();
    EXPECT_EQ(link_matrix(many).size(), std::size_t{kLinkedCards} * kLinkedCards);
    for (Card& card : many) card.numa = 0;
    EXPECT_THAT(link_matrix(many), IsEmpty());
}

TEST(CloseCards, quads_and_double_links_of_a_cube_mesh) {
    const CloseCards all = cube_mesh({0, 1, 2, 3, 4, 5, 6, 7});
    EXPECT_THAT(all.best(4), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(all.best(8), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    // Two links, as 0-3, 0-4 and others, and a PCIe switch.
    EXPECT_THAT(all.best(2), ElementsAre(2, 3));
    EXPECT_THAT(cube_mesh({0, 2, 4, 5, 6, 7}).best(4), ElementsAre(2, 3, 4, 5));
    EXPECT_THAT(all.best(9), IsEmpty());
    EXPECT_THAT(all.best(0), IsEmpty());
}

TEST(CloseCards, one_card_is_taken_where_it_breaks_nothing) {
    // Card 4 has links to few of what is left; 0..3 are a quad.
    EXPECT_THAT(cube_mesh({0, 1, 2, 3, 6}).best(1), ElementsAre(4));
}

TEST(CloseCards, least_is_taken_from_the_rest) {
    CloseCards close(5);  // 0-1 as close as 2-3, but 1 and 4 are close, too
    for (const auto& [a, b] : {std::pair{0, 1}, {2, 3}, {1, 4}}) {
        close.set(a, b, make_link(PciePath::kUnknown, 2));
    }
    EXPECT_THAT(close.best(2), ElementsAre(2, 3));
}

TEST(CloseCards, must_and_eligible) {
    const CloseCards all = cube_mesh({0, 1, 2, 3, 4, 5, 6, 7});
    EXPECT_THAT(all.best(2, std::vector{5}), ElementsAre(5, 6));
    EXPECT_THAT(all.best(2, std::vector{0, 7}), ElementsAre(0, 7));
    EXPECT_THAT(all.best(1, std::vector{3, 4}), ElementsAre(3));
    EXPECT_THAT(all.best(2, {}, 2), ElementsAre(0, 1));
    EXPECT_THAT(all.best(3, {}, 2), IsEmpty());
    EXPECT_THAT(all.best(3, std::vector{7}, 2), ElementsAre(0, 1, 7));
}

struct Best {
    int inside = -1;
    int cut = 0;
    std::vector<int> set;
};

// All sets, without any of the tricks.
Best by_trying_all(const std::vector<Link>& links, int cards, int count) {
    Best best;
    const auto score = [&](int a, int b) { return link_score(links[a * cards + b]); };
    for (std::uint32_t set = 0; set < 1U << cards; ++set) {
        if (std::popcount(set) != count) continue;
        Best found{0, 0, {}};
        for (int a = 0; a < cards; ++a) {
            if ((set >> a & 1) == 0) continue;
            found.set.push_back(a);
            for (int b = 0; b < cards; ++b) {
                if ((set >> b & 1) == 0) found.cut += score(a, b);
                if (b > a && (set >> b & 1) != 0) found.inside += score(a, b);
            }
        }
        const bool better = std::tuple(-found.inside, found.cut, found.set) <
                            std::tuple(-best.inside, best.cut, best.set);
        if (best.inside < 0 || better) best = found;
    }
    return best;
}

TEST(CloseCards, equals_trying_all_sets) {
    Random random(replay_seed());
    for (int round = 0; round < 300; ++round) {
        const int cards = random.between(1, 10);
        const int kinds = random.between(1, 4);
        CloseCards close(cards);
        std::vector<Link> links(static_cast<std::size_t>(cards * cards));
        for (int a = 0; a < cards; ++a) {
            for (int b = a + 1; b < cards; ++b) {
                const Link link = make_link(
                    static_cast<PciePath>(random.between(0, kinds)), random.between(0, kinds - 1)
                );
                links[a * cards + b] = links[b * cards + a] = link;
                close.set(a, b, link);
            }
        }
        for (int count = 1; count <= cards; ++count) {
            EXPECT_EQ(close.best(count), by_trying_all(links, cards, count).set)
                << cards << " cards, " << count << " wanted";
        }
    }
}

TEST(CloseCards, more_than_the_exact_number) {
    const int cards = 24;  // six quads, interleaved
    CloseCards close(cards);
    for (int a = 0; a < cards; ++a) {
        for (int b = a + 1; b < cards; ++b) {
            if (a % 6 == b % 6) close.set(a, b, make_link(PciePath::kUnknown, 2));
        }
    }
    EXPECT_THAT(close.best(4), ElementsAre(0, 6, 12, 18));
    EXPECT_THAT(close.best(4, std::vector{3}), ElementsAre(3, 9, 15, 21));
    EXPECT_EQ(close.best(24).size(), 24U);
    EXPECT_THAT(close.best(3, {}, 2), IsEmpty());
}

// --- what the planner makes of it ---

PodRequest wants(std::vector<int> counts, std::string_view resource = kResourceWhole) {
    PodRequest request;
    for (const int count : counts) {
        ContainerRequest container;
        container.name = "c" + std::to_string(request.containers.size());
        container.resource = resource;
        container.percent = 100;
        container.cards = count;
        container.whole = true;
        request.containers.push_back(container);
    }
    return request;
}

std::vector<std::vector<int>> planned(
    const std::vector<Card>& cards,
    std::vector<int> used,
    const PodRequest& request,
    std::string_view policy
) {
    std::vector<CardState> states;
    for (const Card& card : cards) states.push_back({card, used[states.size()], 0});
    const PlanResult result = plan(states, request, *find_policy(policy));
    std::vector<std::vector<int>> indexes;
    if (const auto* placement = std::get_if<Placement>(&result)) {
        for (const ContainerPlacement& container : placement->containers) {
            indexes.emplace_back();
            for (const CardShare& share : container.cards) indexes.back().push_back(share.index);
        }
    }
    return indexes;
}

TEST(PlannerTopology, whole_cards_are_close_under_every_policy_but_random) {
    const std::vector<int> used{0, 20, 0, 0, 0, 0, 0, 0};  // 1 carries a share
    for (const Policy& policy : policies()) {
        if (!policy.follows_links) continue;
        for (const std::string_view resource : {kResourceWhole, kResourcePercent}) {
            EXPECT_THAT(
                planned(dgx1(), used, wants({4}, resource), policy.name),
                ElementsAre(ElementsAre(4, 5, 6, 7))
            ) << policy.name;
        }
    }
    EXPECT_FALSE(find_policy("random")->follows_links);
}

TEST(PlannerTopology, each_container_of_a_pod_gets_a_group) {
    EXPECT_THAT(
        planned(dgx1(), std::vector<int>(8), wants({4, 4}), "binpack"),
        ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7))
    );
    EXPECT_THAT(
        planned(dgx1(), {0, 0, 0, 0, 0, 100, 100, 0}, wants({2, 2}), "spread"),
        ElementsAre(ElementsAre(2, 3), ElementsAre(4, 7))
    );
}

TEST(PlannerTopology, the_ledger_carries_it) {
    Ledger ledger;
    NodeInventory inventory;
    inventory.cards = dgx1();
    ledger.upsert_node("n", inventory);
    const auto take = [&](const char* uid, int count) {
        const auto placed = ledger.reserve({uid, "ns", uid}, "n", wants({count}), {}, Duration(60));
        std::vector<int> indexes;
        if (!placed) return indexes;
        for (const CardShare& share : placed->containers[0].cards) indexes.push_back(share.index);
        return indexes;
    };
    EXPECT_THAT(take("a", 1), ElementsAre(0));
    EXPECT_THAT(take("b", 4), ElementsAre(4, 5, 6, 7));
    EXPECT_THAT(take("c", 2), ElementsAre(2, 3));
    EXPECT_THAT(ledger.check_invariants(), IsEmpty());
}

}  // namespace
}  // namespace egpu::core
