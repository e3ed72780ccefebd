#include "guard/compute/cost_table.h"

#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"

namespace egpu::guard {
namespace {

constexpr CostTable::Around kAlone{
    .share_ppm = 1'000'000, .neighbours = 0, .spatial = false, .crowded = false};
constexpr CostTable::Around kUnknown{
    .share_ppm = 0, .neighbours = 0, .spatial = false, .crowded = false};
constexpr CostTable::Around kBeside{
    .share_ppm = 500'000, .neighbours = 1, .spatial = false, .crowded = false};
constexpr std::uint64_t kKey = 0x123456789ABCDEF1;

struct Table : ::testing::Test {
    std::unique_ptr<CostTable> costs = std::make_unique<CostTable>();
    CostTable::Lesson teach(
        std::uint64_t span, std::uint64_t launches, const CostTable::Around& around
    ) {
        return costs->teach(CostTable::slot(kKey), kKey, span, launches, around);
    }
};

TEST(ShapeKey, TellsShapesApart) {
    std::set<std::uint64_t> keys;
    std::size_t made = 0;
    for (std::uintptr_t function = 0x7f0000001000; function < 0x7f0000001000 + 64 * 256;
         function += 64) {
        for (std::uint32_t size = 1; size < 40; ++size) {
            for (int axis = 0; axis < 6; ++axis) {
                std::uint32_t dims[6] = {1, 1, 1, 1, 1, 1};
                dims[axis] = size + 1;
                keys.insert(shape_key(
                    reinterpret_cast<const void*>(function),
                    dims[0],
                    dims[1],
                    dims[2],
                    dims[3],
                    dims[4],
                    dims[5]
                ));
                ++made;
            }
        }
    }
    EXPECT_EQ(keys.size(), made);
    std::set<std::uint32_t> slots;
    for (std::uintptr_t function = 0x7f0000001000; function < 0x7f0000001000 + 64 * 256;
         function += 64) {
        const Launch launch{reinterpret_cast<const void*>(function), {132, 1, 1}, {132, 1, 1}};
        slots.insert(CostTable::slot(shape_key(launch)));
    }
    EXPECT_GT(slots.size(), 235U);  // of 256 shapes in 4,096 slots
}

TEST_F(Table, AloneTheMeanIsTheCost) {
    EXPECT_EQ(teach(1'000'000, 10, kAlone).cost_ns, 100'000U);
    Random random(3);
    std::uint64_t cost = 0;
    double sum = 0;
    for (int i = 0; i < 2'000; ++i) {
        const CostTable::Lesson lesson = teach(50'000 + random.below(100'000), 1, kAlone);
        EXPECT_TRUE(lesson.exact);
        cost = lesson.cost_ns;
        sum += static_cast<double>(cost);
    }
    EXPECT_NEAR(sum / 2'000, 100'000, 3'000);
    for (int i = 0; i < 64; ++i) cost = teach(300'000, 1, kAlone).cost_ns;  // it changed
    EXPECT_NEAR(static_cast<double>(cost), 300'000, 1'000);
}

TEST_F(Table, ANeighboursSliceInAShortSegmentTeachesNothing) {
    for (const CostTable::Around& around : {kUnknown, kBeside}) {
        costs = std::make_unique<CostTable>();
        std::uint64_t cost = 0;
        for (int i = 0; i < 200; ++i) {
            const bool met = i % 3 != 0;
            const CostTable::Lesson lesson = teach(500'000 + (met ? 2'000'000 : 0), 5, around);
            EXPECT_EQ(lesson.exact, i == 0 || !met);
            cost = lesson.cost_ns;
        }
        EXPECT_EQ(cost, 100'000U);
    }
}

TEST_F(Table, AFirstMeasurementAmongNeighboursIsPutRightByTheFirstCleanOne) {
    teach(2'100'000, 1, kUnknown);
    EXPECT_LE(teach(100'000, 1, kUnknown).cost_ns, 100'000U);
}

TEST_F(Table, ALongKernelAmongNeighboursIsBoundedFromBothSides) {
    // 40 ms on the card, never alone: 80 ms each. The part of the time says it.
    EXPECT_EQ(teach(80'000'000, 1, kBeside).cost_ns, 40'000'000U);
    // A part that is wrong cannot say less than the turns allow, nor more than the span.
    const CostTable::Around wrong{
        .share_ppm = 100'000, .neighbours = 1, .spatial = false, .crowded = false};
    EXPECT_GE(teach(80'000'000, 1, wrong).cost_ns, 39'000'000U);
    // Once it met nobody for most of its time, the shortest span is the cost.
    EXPECT_LE(teach(41'000'000, 1, kBeside).cost_ns, 41'000'000U);
}

TEST_F(Table, WhatWasLearnedAloneHoldsAmongNeighbours) {
    for (int i = 0; i < 10; ++i) teach(40'000'000, 1, kAlone);
    for (int i = 0; i < 100; ++i) {
        EXPECT_NEAR(
            static_cast<double>(teach(i % 2 == 0 ? 80'000'000 : 62'000'000, 1, kBeside).cost_ns),
            40e6,
            1e6
        );
    }
    // Until spans contradict it: the kernel grew.
    std::uint64_t cost = 0;
    for (int i = 0; i < 100; ++i) cost = teach(160'000'000, 1, kBeside).cost_ns;
    EXPECT_NEAR(static_cast<double>(cost), 80e6, 2e6);
}

TEST_F(Table, AMixedSegmentMovesItsShapes) {
    teach(100'000, 1, kAlone);
    costs->nudge(CostTable::slot(kKey), kKey, 2'000'000);
    EXPECT_EQ(CostEntry::cost(costs->at(CostTable::slot(kKey)).word), 130'000U);
    costs->nudge(CostTable::slot(kKey), kKey + 2, 2'000'000);  // another shape's key: not touched
    EXPECT_EQ(CostEntry::cost(costs->at(CostTable::slot(kKey)).word), 130'000U);
}

TEST_F(Table, UnusableMeasurementsAskForOneAlone) {
    teach(100'000, 1, kAlone);
    costs->unusable(CostTable::slot(kKey), kKey);
    EXPECT_FALSE(CostEntry::alone(costs->at(CostTable::slot(kKey)).word));
    costs->unusable(CostTable::slot(kKey), kKey);
    EXPECT_TRUE(CostEntry::alone(costs->at(CostTable::slot(kKey)).word));
    EXPECT_EQ(CostEntry::cost(costs->at(CostTable::slot(kKey)).word), 100'000U);
}

TEST_F(Table, ForgettingTouchesOnlyItsShape) {
    teach(100'000, 1, kAlone);
    costs->forget(kKey + 2);
    EXPECT_EQ(costs->at(CostTable::slot(kKey)).key, kKey);
    costs->forget(kKey);
    EXPECT_EQ(costs->at(CostTable::slot(kKey)).key, 0U);
}

}  // namespace
}  // namespace egpu::guard
