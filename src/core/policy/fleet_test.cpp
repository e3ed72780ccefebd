#include "core/policy/fleet.h"

#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "core/policy/card_choice.h"
#include "core/policy/demand_statistics.h"
#include "core/policy/rooms_for_test.h"
#include "core/replay_seed.h"

namespace egpu::core {
namespace {

Shape random_shape(Random& random) {
    const int cpu = 1000 * random.between(0, 8);
    switch (random.below(4)) {
        case 0:
            return no_card(cpu + 1000, 100 * random.between(0, 3));
        case 1:
            return whole_cards(random.between(1, 3), cpu, 0, random.chance(0.2) ? 0b10 : 0);
        default:
            return share_of(10 * random.between(1, 9), cpu, 100 * random.between(0, 3));
    }
}

Room random_room(Random& random) {
    Room room = room_of({}, 1000 * random.between(0, 64), 100 * random.between(0, 40));
    room.model = static_cast<ModelId>(random.below(2));
    room.cards = static_cast<std::uint8_t>(random.below(5));
    for (int card = 0; card < room.cards; ++card) {
        room.free[card] =
            static_cast<std::uint8_t>(random.chance(0.5) ? 100 : 10 * random.between(0, 10));
    }
    return room;
}

// The best node by asking each for itself.
std::optional<Pick> best_by_choose(Fleet& fleet, std::size_t nodes, const Shape& shape) {
    std::optional<Pick> best;
    for (FleetNode node = 0; node < nodes; ++node) {
        const Choice choice = fleet.choose(node, shape);
        if (!choice.fits || (best && choice.score <= best->choice.score)) continue;
        best = Pick{node, choice};
    }
    return best;
}

class EveryPolicy : public ::testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(
    Fleet,
    EveryPolicy,
    ::testing::Values(
        "binpack",
        "spread",
        "best-fit",
        "dot-product",
        "gpu-packing",
        "gpu-clustering",
        "fgd",
        "fill-gradient"
    )
);

// Kept scores, shared between like nodes and shapes, must be those that a fresh look gives, while
// rooms change back and forth, nodes go, and the outlook is renewed.
TEST_P(EveryPolicy, KeptScoresAreThoseOfAFreshLook) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    FleetOptions options;
    options.price_period = 20;
    options.max_values = 3000;  // is reached: values are dropped on the way
    options.max_shapes = 24;
    Fleet fleet(*find_scorer(GetParam()), options);
    constexpr std::size_t kNodes = 40;
    std::vector<Shape> shapes;
    for (int i = 0; i < 30; ++i) shapes.push_back(random_shape(random));
    for (FleetNode node = 0; node < kNodes; ++node) fleet.set_room(node, random_room(random));
    std::vector<FleetNode> all(kNodes);
    for (FleetNode node = 0; node < kNodes; ++node) all[node] = node;
    int placed = 0;
    for (int round = 0; round < 400; ++round) {
        const Shape& shape = shapes[random.below(shapes.size())];
        fleet.arrived(shape);
        fleet.refresh_if_due();
        ASSERT_FALSE(fleet.refresh_due());
        const auto expected = best_by_choose(fleet, kNodes, shape);
        const auto pick = fleet.place(shape);
        ASSERT_EQ(pick.has_value(), expected.has_value());
        std::vector<double> scores(kNodes);
        fleet.scores(all, shape, scores);
        for (FleetNode node = 0; node < kNodes; ++node) {
            const Choice choice = fleet.choose(node, shape);
            ASSERT_EQ(choice.fits, !std::isnan(scores[node]));
            if (!choice.fits) continue;
            ASSERT_EQ(choice.score, scores[node]);
            ASSERT_EQ(choice.score, fleet.score(node, choice.after, shape));
        }
        if (pick) {
            ++placed;
            EXPECT_EQ(pick->node, expected->node);
            EXPECT_EQ(pick->choice.after, expected->choice.after);
            fleet.set_room(pick->node, pick->choice.after);
        }
        const auto other = static_cast<FleetNode>(random.below(kNodes));
        if (random.chance(0.1)) fleet.remove_node(other);
        if (random.chance(0.3)) fleet.set_room(other, random_room(random));
    }
    EXPECT_GT(placed, 100);
}

TEST(Fleet, RandomIsReplayableAndReachesAll) {
    const auto picks = [](std::uint64_t seed) {
        FleetOptions options;
        options.seed = seed;
        Fleet fleet(*find_scorer("random"), options);
        for (FleetNode node = 0; node < 8; ++node) fleet.set_room(node, room_of({100, 100}));
        std::vector<std::pair<FleetNode, int>> out;
        for (std::uint64_t pod = 0; pod < 200; ++pod) {
            const auto pick = fleet.place(share_of(10), pod);
            out.emplace_back(pick->node, pick->choice.card);
        }
        return out;
    };
    EXPECT_EQ(picks(1), picks(1));
    EXPECT_NE(picks(1), picks(2));
    const auto once = picks(1);
    const std::set<std::pair<FleetNode, int>> reached(once.begin(), once.end());
    EXPECT_EQ(reached.size(), 16u);
}

TEST(Fleet, TiesGoToTheLowestNodeAndCard) {
    for (const char* policy : {"binpack", "best-fit", "fgd", "fill-gradient"}) {
        Fleet fleet(*find_scorer(policy));
        for (FleetNode node = 3; node < 9; ++node) fleet.set_room(node, room_of({100, 100}));
        fleet.arrived(share_of(50));
        fleet.refresh_if_due();
        const auto pick = fleet.place(share_of(50));
        ASSERT_TRUE(pick);
        EXPECT_EQ(pick->node, 3u) << policy;
        EXPECT_EQ(pick->choice.card, 0) << policy;
    }
}

TEST(Fleet, KnowsNoNodeItWasNotGiven) {
    Fleet fleet(*find_scorer("fill-gradient"));
    EXPECT_FALSE(fleet.place(share_of(50)));
    EXPECT_EQ(fleet.room(0), nullptr);
    fleet.set_room(2, room_of({100}));
    EXPECT_EQ(fleet.room(0), nullptr);
    ASSERT_NE(fleet.room(2), nullptr);
    EXPECT_FALSE(fleet.choose(1, share_of(50)).fits);
    EXPECT_TRUE(std::isnan(fleet.score(1, room_of({50}), share_of(50))));
    EXPECT_TRUE(fleet.choose(2, share_of(50)).fits);  // with nothing learned yet
    fleet.remove_node(2);
    fleet.remove_node(7);
    EXPECT_FALSE(fleet.place(share_of(50)));
}

TEST(Fleet, LearnsWhatPairsUp) {
    // Pods of 47 and 53: 47 belongs on the card with 47 left, not on the one with 60.
    Fleet fleet(*find_scorer("fill-gradient"));
    fleet.set_room(0, room_of({60}));
    fleet.set_room(1, room_of({47}));
    fleet.set_room(2, room_of({100}));
    for (int i = 0; i < 64; ++i) {
        fleet.arrived(share_of(i % 2 == 0 ? 47 : 53));
        fleet.refresh_if_due();
    }
    EXPECT_EQ(fleet.place(share_of(47))->node, 1u);
    EXPECT_EQ(fleet.place(share_of(53))->node, 0u);
}

TEST(Fleet, FollowsAChangeOfWorkload) {
    // First everybody wants 30, later 70: with forgetting, the card with 70 left becomes dear.
    FleetOptions options;
    options.half_life = 50;
    Fleet fleet(*find_scorer("fill-gradient"), options);
    fleet.set_room(0, room_of({70}));
    fleet.set_room(1, room_of({100}));
    for (int i = 0; i < 500; ++i) {
        fleet.arrived(share_of(30));
        fleet.refresh_if_due();
    }
    const double before = fleet.choose(0, share_of(10)).score;
    for (int i = 0; i < 500; ++i) {
        fleet.arrived(share_of(70));
        fleet.refresh_if_due();
    }
    const double after = fleet.choose(0, share_of(10)).score;
    EXPECT_LT(after, before - 0.2);  // it would cost a whole pod of 70 now
}

TEST(Fleet, ARefreshInSlicesGivesTheSameScores) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    for (const char* policy : {"fgd", "fill-gradient"}) {
        Fleet at_once(*find_scorer(policy));
        Fleet in_slices(*find_scorer(policy));
        std::vector<Shape> shapes;
        for (int i = 0; i < 12; ++i) shapes.push_back(random_shape(random));
        for (FleetNode node = 0; node < 20; ++node) {
            const Room room = random_room(random);
            at_once.set_room(node, room);
            in_slices.set_room(node, room);
        }
        for (int round = 0; round < 150; ++round) {
            const Shape& shape = shapes[random.below(shapes.size())];
            at_once.arrived(shape);
            in_slices.arrived(shape);
            ASSERT_EQ(at_once.refresh_due(), in_slices.refresh_due());
            at_once.refresh_if_due();
            if (in_slices.refresh_due()) {
                const auto job = in_slices.prepare(true);
                int steps = 0;
                while (!job->step(3)) {
                    ASSERT_LT(++steps, 100000);
                }
                in_slices.install(std::move(*job));
            }
            const auto one = at_once.place(shape);
            const auto other = in_slices.place(shape);
            ASSERT_EQ(one.has_value(), other.has_value());
            if (!one) continue;
            ASSERT_EQ(one->node, other->node);
            ASSERT_EQ(one->choice.score, other->choice.score);
            at_once.set_room(one->node, one->choice.after);
            in_slices.set_room(one->node, one->choice.after);
        }
    }
}

TEST(Fleet, ClusterMayChangeWhileARefreshIsPrepared) {
    EG_TRACE_SEED();
    Random random(replay_seed());
    FleetOptions options;
    options.max_values = 60;  // the memo is dropped now and then while ids are out
    Fleet fleet(*find_scorer("fill-gradient"), options);
    for (FleetNode node = 0; node < 10; ++node) fleet.set_room(node, random_room(random));
    for (int round = 0; round < 300; ++round) {
        fleet.arrived(random_shape(random));
        auto job = fleet.refresh_due() ? fleet.prepare(true) : nullptr;
        for (int i = 0; i < 5; ++i) {
            const auto node = static_cast<FleetNode>(random.below(10));
            fleet.set_room(node, random_room(random));
            fleet.place(random_shape(random));
            if (job) job->step(10);
        }
        if (job) fleet.install(std::move(*job));
        const Shape shape = random_shape(random);
        const auto pick = fleet.place(shape);
        const auto expected = best_by_choose(fleet, 10, shape);
        ASSERT_EQ(pick.has_value(), expected.has_value());
        if (pick) {
            ASSERT_EQ(pick->node, expected->node);
        }
    }
}

TEST(Fleet, KnownDemandIsNotLearnedOver) {
    const std::vector<ShapeWeight> known{{share_of(50), 1}};
    Fleet one(*find_scorer("fgd"));
    Fleet other(*find_scorer("fgd"));
    for (Fleet* fleet : {&one, &other}) {
        fleet->know_demand(known);
        fleet->set_room(0, room_of({100, 70}));
    }
    for (int i = 0; i < 100; ++i) other.arrived(share_of(70));
    one.refresh_if_due();
    other.refresh_if_due();
    EXPECT_EQ(one.choose(0, share_of(20)).score, other.choose(0, share_of(20)).score);
}

TEST(DemandStatistics, CountsAndForgets) {
    DemandStatistics plain;
    for (int i = 0; i < 3; ++i) plain.arrived(share_of(10));
    plain.arrived(share_of(20));
    ASSERT_EQ(plain.weights().size(), 2u);
    EXPECT_EQ(plain.weights()[0].weight, 3);

    DemandStatistics forgetful(10);
    for (int i = 0; i < 1000; ++i) forgetful.arrived(share_of(10));
    for (int i = 0; i < 10; ++i) forgetful.arrived(share_of(20));
    const auto weights = forgetful.weights();
    EXPECT_NEAR(weights[0].weight / weights[1].weight, 1, 0.01);  // one half-life later: 1/2 to 1/2
}

TEST(DemandStatistics, DropsTheRarest) {
    DemandStatistics few(0, 3);
    for (int percent = 10; percent <= 40; percent += 10) {
        for (int i = 0; i <= percent; ++i) few.arrived(share_of(percent));
    }
    std::map<int, double> left;
    for (const auto& [shape, weight] : few.weights()) left[shape.percent] = weight;
    EXPECT_EQ(left, (std::map<int, double>{{20, 21}, {30, 31}, {40, 41}}));
}

}  // namespace
}  // namespace egpu::core
