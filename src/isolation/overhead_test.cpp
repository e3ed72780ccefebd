#include "isolation/overhead.h"

#include <gtest/gtest.h>

namespace egpu::isolation {
namespace {

constexpr std::uint64_t kMib = 1U << 20;

TEST(Overhead, RisesOnlyToWhatEveryMeasurementShowed) {
    OverheadEstimate estimate;
    EXPECT_FALSE(estimate.bytes().has_value());
    estimate.add(300 * kMib, 0);
    EXPECT_FALSE(estimate.bytes().has_value());  // one may be an allocation in between
    estimate.add(400 * kMib, 100 * kMib);
    EXPECT_EQ(estimate.bytes(), 300 * kMib);
    // An allocation that NVML saw and the ledger's reader did not.
    estimate.add(1400 * kMib, 100 * kMib);
    EXPECT_EQ(estimate.bytes(), 300 * kMib);
    estimate.add(1400 * kMib, 1100 * kMib);
    EXPECT_EQ(estimate.bytes(), 300 * kMib);
    // Twice in a row, too.
    estimate.add(1400 * kMib, 0);
    estimate.add(1400 * kMib, 0);
    EXPECT_EQ(estimate.bytes(), 300 * kMib);
    estimate.add(1400 * kMib, 0);
    EXPECT_EQ(estimate.bytes(), 1400 * kMib);
}

TEST(Overhead, FallsAtOnce) {
    OverheadEstimate estimate;
    for (int i = 0; i < 3; ++i) estimate.add(900 * kMib, 100 * kMib);
    EXPECT_EQ(estimate.bytes(), 800 * kMib);
    estimate.add(500 * kMib, 200 * kMib);
    EXPECT_EQ(estimate.bytes(), 300 * kMib);
    estimate.add(100 * kMib, 200 * kMib);  // reserved, not taken yet
    EXPECT_EQ(estimate.bytes(), 0U);
}

TEST(Overhead, WholeMiB) {
    OverheadEstimate estimate;
    estimate.add(kMib + 1, 0);
    estimate.add(kMib + 1, 0);
    EXPECT_EQ(estimate.bytes(), 2 * kMib);
}

TEST(Overhead, ADriverThatDoesNotTellChargesNothing) {
    OverheadEstimate estimate;
    for (int i = 0; i < 3; ++i) estimate.add(900 * kMib, 0);
    estimate.add(std::nullopt, 0);
    EXPECT_EQ(estimate.bytes(), 0U);
    estimate.add(900 * kMib, 0);
    EXPECT_FALSE(estimate.bytes().has_value());
}

}  // namespace
}  // namespace egpu::isolation
