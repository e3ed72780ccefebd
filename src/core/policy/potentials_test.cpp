// What rooms are worth: FGD's fragmentation, expected fill, scarcity; and causes of free GPU.
#include <gtest/gtest.h>

#include "core/policy/causes.h"
#include "core/policy/fragmentation.h"
#include "core/policy/futures.h"
#include "core/policy/rooms_for_test.h"
#include "core/policy/scarcity.h"

namespace egpu::core {
namespace {

TEST(Fragmentation, IsWhatTypicalPodsCannotUse) {
    const std::vector<ShapeWeight> demand{
        {share_of(50, 4000), 5}, {whole_cards(1, 8000), 3}, {no_card(1000), 2}};
    const Fragmentation typical(demand, 1.0);
    EXPECT_EQ(typical.typical_pods(), 3u);
    // 30 percent is too little for the share (half of the pods), and for the whole card with it
    // the card of 30; pods without a card can use nothing: 0.5*300 + 0.3*300 + 0.2*1300.
    EXPECT_NEAR(typical.amount(room_of({30, 100}, 16000)), 500, 1e-9);
    // Too little CPU for the whole card: all 1300 for it.
    EXPECT_NEAR(typical.amount(room_of({30, 100}, 4000)), 150 + 390 + 260, 1e-9);
    // Memory is not looked at.
    EXPECT_NEAR(typical.amount(room_of({30, 100}, 16000, 0)), 500, 1e-9);
    EXPECT_EQ(typical.amount(room_of({0, 0}, 16000)), 0);
}

TEST(Fragmentation, CountsModelsAndNumbersOfCards) {
    const std::vector<ShapeWeight> demand{{whole_cards(2), 1}, {share_of(50, 0, 0, 0b10), 1}};
    const Fragmentation typical(demand, 1.0);
    EXPECT_NEAR(typical.amount(room_of({100, 50}, 0, 0, 0)), 0.5 * 1500 + 0.5 * 1500, 1e-9);
    EXPECT_NEAR(typical.amount(room_of({100, 100}, 0, 0, 1)), 0, 1e-9);
}

TEST(Fragmentation, LeavesTheRarestOut) {
    const std::vector<ShapeWeight> demand{
        {share_of(10), 60}, {share_of(20), 30}, {share_of(30), 9}, {share_of(40), 1}};
    EXPECT_EQ(Fragmentation(demand, 0.95).typical_pods(), 3u);
    EXPECT_EQ(Fragmentation(demand, 0.9).typical_pods(), 2u);
    // Shapes that differ in memory only are one typical pod.
    const std::vector<ShapeWeight> alike{{share_of(10, 0, 1), 1}, {share_of(10, 0, 2), 1}};
    EXPECT_EQ(Fragmentation(alike, 1).typical_pods(), 1u);
}

TEST(Fragmentation, ScoreIsTruncatedSoThatNearStepsTie) {
    EXPECT_EQ(fragmentation_score(500, 500), 50);
    EXPECT_EQ(fragmentation_score(500, 501), 49);
    EXPECT_EQ(fragmentation_score(500, 520), 49);
    EXPECT_EQ(fragmentation_score(1000, 0), 73);  // 100 / (1 + 1/e)
    EXPECT_EQ(fragmentation_score(0, 1000), 26);
}

TEST(Futures, OnePodFillsWhatItFits) {
    const std::vector<ShapeWeight> halves{{share_of(50, 4000, 100), 1}};
    const Futures futures(halves, {});
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 100})), 2);
    EXPECT_DOUBLE_EQ(futures.value(room_of({70, 40})), 0.5);
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 100}, 8000)), 1);         // CPU for two
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 100}, 8000, 150)), 0.5);  // memory for one
    EXPECT_DOUBLE_EQ(futures.value(room_of({49, 49})), 0);
    EXPECT_DOUBLE_EQ(futures.value(room_of({}, 8000)), 0);
}

TEST(Futures, SeesWhatPairsUp) {
    const std::vector<ShapeWeight> demand{{share_of(47), 1}, {share_of(81), 1}};
    const Futures futures(demand, {});
    // 53 left can take one more 47; 30 left takes nothing: putting 47 where 53 is left is better
    // than opening a card for it.
    EXPECT_NEAR(futures.value(room_of({53})), 0.47, 1e-9);
    EXPECT_EQ(futures.value(room_of({30})), 0);
    EXPECT_GT(futures.value(room_of({100})), 0.81);
    EXPECT_LT(futures.value(room_of({100})), 0.94 + 1e-9);
}

TEST(Futures, ModelsAndWholeCards) {
    const std::vector<ShapeWeight> demand{{whole_cards(2, 0, 0, 0b10), 1}};
    const Futures futures(demand, {});
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 100, 100}, 1, 1, 1)), 2);
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 100, 100}, 1, 1, 0)), 0);
    EXPECT_DOUBLE_EQ(futures.value(room_of({100, 99, 0}, 1, 1, 1)), 0);
    EXPECT_DOUBLE_EQ(Futures({}, {}).value(room_of({100})), 0);
}

TEST(Futures, PodsWithoutACardUseUpTheCpu) {
    const std::vector<ShapeWeight> demand{{share_of(50, 1000), 1}, {no_card(1000), 1}};
    FutureOptions options;
    const double with = Futures(demand, options).value(room_of({100, 100}, 4000));
    options.cpu_only = 0;
    const double without = Futures(demand, options).value(room_of({100, 100}, 4000));
    EXPECT_DOUBLE_EQ(without, 2);
    EXPECT_LT(with, 1.9);
}

TEST(Futures, SharesOfSeveralCardsAreTakenTogetherOrNotAtAll) {
    const std::vector<ShapeWeight> demand{{{0, 0, 0, 2, 50}, 1}};
    const Futures futures(demand, {});
    EXPECT_DOUBLE_EQ(futures.value(room_of({50, 50})), 1);
    EXPECT_DOUBLE_EQ(futures.value(room_of({50, 40})), 0);
}

TEST(Scarcity, CapacityIsCopiesTimesGpu) {
    EXPECT_DOUBLE_EQ(Scarcity::capacity(room_of({100, 50}), share_of(30)), 4 * 0.3);
    EXPECT_DOUBLE_EQ(Scarcity::capacity(room_of({100, 100, 100}), whole_cards(2)), 2);
    EXPECT_DOUBLE_EQ(Scarcity::capacity(room_of({100, 50}), whole_cards(2)), 0);
    // Fractions of CPU count above one copy, less than one copy does not.
    EXPECT_NEAR(Scarcity::capacity(room_of({100, 100}, 6000), whole_cards(1, 4000)), 1.5, 1e-4);
    EXPECT_NEAR(Scarcity::capacity(room_of({100, 100}, 4000), whole_cards(1, 4000)), 1, 1e-4);
    EXPECT_EQ(Scarcity::capacity(room_of({100, 100}, 3999), whole_cards(1, 4000)), 0);
    EXPECT_EQ(Scarcity::capacity(room_of({100}, 1, 1, 0), share_of(30, 0, 0, 0b10)), 0);
}

TEST(Scarcity, WhatIsScarceIsDear) {
    // 2 nodes of model 1, 8 of model 0; half of the pods must have model 1.
    const std::vector<RoomCount> rooms{
        {room_of({100}, kUnlimited, kUnlimited, 1), 2}, {room_of({100}), 8}};
    const std::vector<ShapeWeight> demand{{whole_cards(1, 0, 0, 0b10), 1}, {whole_cards(1), 1}};
    const Scarcity scarcity(demand, rooms, {0.05, 2, 0});
    // All is free: weight 0.05. Prices: 0.5 * (10/2)^2 = 12.5 and 0.5 * (10/10)^2 = 0.5.
    EXPECT_NEAR(scarcity.value(rooms[0].room), 0.05 * (12.5 + 0.5), 1e-5);
    EXPECT_NEAR(scarcity.value(rooms[1].room), 0.05 * 0.5, 1e-6);
    EXPECT_EQ(scarcity.value(room_of({0})), 0);
}

TEST(Scarcity, PodsWithoutACardCountByTheirCpu) {
    const std::vector<RoomCount> rooms{{room_of({100}, 8000), 10}};
    const std::vector<ShapeWeight> demand{{whole_cards(1, 4000), 1}, {no_card(4000), 1}};
    // 8000 CPU are asked for per card: a pod without a card counts like 4000 / 8000 of one; there
    // is room for two on each node, 10 in all: 0.5 * (10/10)^2 * 1. The whole cards: 0.5 * 1 * 1.
    EXPECT_NEAR(Scarcity(demand, rooms, {0.05, 2, 1}).value(rooms[0].room), 0.05, 1e-5);
    EXPECT_NEAR(Scarcity(demand, rooms, {0.05, 2, 0}).value(rooms[0].room), 0.025, 1e-5);
    EXPECT_NEAR(Scarcity({}, rooms).value(rooms[0].room), 0, 1e-9);
    EXPECT_NEAR(Scarcity(demand, {}).value(rooms[0].room), 0, 1e-9);
}

TEST(Causes, SplitTheFreeGpu) {
    const std::vector<ShapeWeight> demand{
        {share_of(50, 4000, 100), 1},
        {whole_cards(1, 8000), 1},
        {whole_cards(1, 0, 0, 0b10), 1},
        {no_card(1), 7}};
    const Causes causes = causes_of(room_of({30, 100}, 6000, 50), demand);
    // Share: 0.3 on a card with too little, 1.0 lacks memory. Whole: 0.3 shape, 1.0 lacks CPU.
    EXPECT_NEAR(causes.model, 1.3 / 3, 1e-9);
    EXPECT_NEAR(causes.shape, 0.6 / 3, 1e-9);
    EXPECT_NEAR(causes.cpu, 1.0 / 3, 1e-9);
    EXPECT_NEAR(causes.memory, 1.0 / 3, 1e-9);
    EXPECT_NEAR(causes.usable, 0, 1e-9);
    EXPECT_NEAR(causes.sum(), 1.3, 1e-9);
    EXPECT_NEAR(causes_of(room_of({0, 0}), demand).sum(), 0, 1e-9);
}

}  // namespace
}  // namespace egpu::core
