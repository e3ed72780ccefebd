#include "core/policy/scorer.h"

#include <gtest/gtest.h>

#include "core/policy/card_choice.h"
#include "core/policy/rooms_for_test.h"

namespace egpu::core {
namespace {

double score(std::string_view policy, const Room& before, const Shape& pod, int card = -1) {
    const Room after = room_after(before, pod, card);
    return find_scorer(policy)->score({before, after, pod, {}});
}

TEST(Scorer, TableIsCompleteAndNamesAreUnique) {
    EXPECT_EQ(
        scorer_names(),
        "binpack, spread, random, best-fit, dot-product, gpu-packing, gpu-clustering, fgd, "
        "fill-gradient, auto"
    );
    EXPECT_EQ(find_scorer("auto"), find_scorer("fill-gradient"));
    EXPECT_EQ(find_scorer("FGD"), nullptr);
    EXPECT_EQ(find_scorer(""), nullptr);
    for (const Scorer& scorer : scorers()) {
        EXPECT_EQ(find_scorer(scorer.name), &scorer);
        EXPECT_FALSE(scorer.description.empty() || scorer.source.empty()) << scorer.name;
        EXPECT_EQ(scorer.score == nullptr, scorer.potential != Potential::kNone) << scorer.name;
    }
}

TEST(Scorer, BinpackAndSpreadScoreLikeTheirLiveForm) {
    // As in policy_test: 20 percent on a card with 80 used, on a half full one, on an idle node.
    EXPECT_EQ(
        score("binpack", room_of({20, 100, 100, 100, 100, 100, 100, 100}), share_of(20), 0), 10
    );
    EXPECT_EQ(
        score("binpack", room_of({60, 100, 100, 100, 100, 100, 100, 100}), share_of(20), 0), 8
    );
    EXPECT_EQ(
        score("binpack", room_of({100, 100, 100, 100, 100, 100, 100, 100}), share_of(20), 0), 0
    );
    EXPECT_EQ(score("binpack", room_of({100, 100, 0, 0, 0, 0, 0, 0}), whole_cards(2)), 10);
    EXPECT_EQ(
        score("spread", room_of({100, 100, 100, 100, 100, 100, 100, 100}), share_of(20), 0), 8
    );
    EXPECT_EQ(score("spread", room_of({100, 0, 0, 0, 0, 0, 0, 0}), whole_cards(1)), 0);
}

TEST(Scorer, BestFitPrefersTheNodeWithLeastLeft) {
    // Left afterwards: 64 of 128 cores and 2 of 8 cards: 1 - (0.25 + 0.125) = 0.625, truncated.
    EXPECT_EQ(score("best-fit", room_of({100, 100, 50}, 72000), share_of(50, 8000), 2), 62);
    // No CPU known: only the cards count, 1 - 0.125.
    EXPECT_EQ(score("best-fit", room_of({100, 100, 50}), share_of(50, 8000), 2), 87);
}

TEST(Scorer, DotProductPrefersWhatIsLeastAligned) {
    // CPU 64/128 * 32/128 = 0.125, GPU 4/8 * 1/8 = 0.0625: 1 - 0.09375 = 0.90625.
    EXPECT_EQ(
        score("dot-product", room_of({100, 100, 100, 100}, 64000), whole_cards(1, 32000)), 90
    );
}

TEST(Scorer, GpuPackingGoesByUsedCardsThenUsedNodesThenIdleNodes) {
    EXPECT_EQ(score("gpu-packing", room_of({40, 100}), share_of(30), 0), 96);  // 100 - 40/10
    EXPECT_EQ(score("gpu-packing", room_of({20, 100}), share_of(30), 1), 49);  // 50 - 1 idle card
    EXPECT_EQ(score("gpu-packing", room_of({20, 100, 100}), whole_cards(2)), 48);
    EXPECT_EQ(score("gpu-packing", room_of({100, 100}), share_of(30), 0), 31);  // 33 - 2
    EXPECT_EQ(score("gpu-packing", room_of({100, 100}, 8000), no_card(1000)), 0);
}

TEST(Scorer, GpuClusteringKeepsKindsTogether) {
    Room room = room_of({100, 100, 100, 60});  // 8 - 3.6 = 4.4 of 8 cards: 25 * 440/800 = 13
    const auto with_kinds = [&](std::initializer_list<ShapeKind> kinds) {
        room.kinds = 0;
        for (const ShapeKind kind : kinds) {
            room.kinds = static_cast<std::uint8_t>(room.kinds | 1U << static_cast<unsigned>(kind));
        }
        return score("gpu-clustering", room, share_of(30), 3);
    };
    EXPECT_EQ(with_kinds({ShapeKind::kShare}), 88);
    EXPECT_EQ(with_kinds({ShapeKind::kShare, ShapeKind::kCpuOnly}), 88);
    EXPECT_EQ(with_kinds({ShapeKind::kShare, ShapeKind::kOneCard}), 63);
    EXPECT_EQ(with_kinds({}), 38);
    EXPECT_EQ(with_kinds({ShapeKind::kOneCard}), 13);
}

TEST(CardChoice, EachRuleChoosesItsCard) {
    const Room room = room_of({50, 100, 30, 50, 20});
    const auto chosen = [&](CardRule rule) {
        const CardOptions options = card_options(room, share_of(30), rule);
        return std::vector<int>(options.card.begin(), options.card.begin() + options.count);
    };
    EXPECT_EQ(chosen(CardRule::kLeastFree), std::vector<int>{2});
    EXPECT_EQ(chosen(CardRule::kMostFree), std::vector<int>{1});
    EXPECT_EQ(chosen(CardRule::kByScore), (std::vector<int>{0, 1, 2}));  // 3 is like 0
    for (std::uint64_t hash = 0; hash < 8; ++hash) {
        const CardOptions options = card_options(room, share_of(30), CardRule::kRandom, hash);
        ASSERT_EQ(options.count, 1);
        EXPECT_GE(room.free[options.card[0]], 30);
    }
}

TEST(CardChoice, RefusesWhatDoesNotFit) {
    const auto count = [](const Room& room, const Shape& pod) {
        return card_options(room, pod, CardRule::kByScore).count;
    };
    EXPECT_EQ(count(room_of({29, 10}), share_of(30)), 0);
    EXPECT_EQ(count(room_of({100}, 999), share_of(30, 1000)), 0);
    EXPECT_EQ(count(room_of({100}, 1000, 9), share_of(30, 1000, 10)), 0);
    EXPECT_EQ(count(room_of({100}, 1000, 10, 3), share_of(30, 1000, 10, 0b0111)), 0);
    EXPECT_EQ(count(room_of({100}, 1000, 10, 3), share_of(30, 1000, 10, 0b1000)), 1);
    EXPECT_EQ(count(room_of({100, 99}), whole_cards(2)), 0);
    EXPECT_EQ(count(room_of({100, 100}), whole_cards(2)), 1);
    EXPECT_EQ(count(room_of({}, 1000), no_card(1000)), 1);
    EXPECT_EQ(count(room_of({}, 1000), no_card(1001)), 0);
}

TEST(CardChoice, TakesFromCardsCpuAndMemory) {
    Room after = room_after(room_of({50, 100}, 1000, 10), share_of(30, 400, 3), 0);
    EXPECT_EQ(after.free[0], 20);
    EXPECT_EQ(after.free[1], 100);
    EXPECT_EQ(after.cpu_milli, 600);
    EXPECT_EQ(after.memory_mib, 7);
    after = room_after(room_of({50, 100, 100, 100}), whole_cards(2, 400), -1);
    EXPECT_EQ(after.free[1] + after.free[2], 0);
    EXPECT_EQ(after.free[0], 50);
    EXPECT_EQ(after.free[3], 100);
    EXPECT_EQ(after.cpu_milli, kUnlimited);
    // Shares of two cards (nvidia.com/gpu with replicas) never share one.
    const Shape two{0, 0, 0, 2, 25};
    after = room_after(room_of({20, 100, 30}), two, -1);
    EXPECT_EQ(after.free[0], 20);
    EXPECT_EQ(after.free[1], 75);
    EXPECT_EQ(after.free[2], 5);
}

}  // namespace
}  // namespace egpu::core
