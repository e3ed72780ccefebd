#include "isolation/measured_time.h"

#include <map>

#include <gtest/gtest.h>

namespace egpu::isolation {
namespace {

constexpr std::uint64_t kStart = 1'700'000'000'000'000;
constexpr std::uint64_t kPeriod = 166'666;

double total(const std::vector<MeasuredTime::Busy>& busy, unsigned pid) {
    double sum = 0;
    for (const auto& entry : busy) sum += entry.pid == pid ? entry.busy_ns : 0;
    return sum / 1e6;
}

TEST(MeasuredTime, AveragesSinceTheLastQuestion) {
    MeasuredTime time;
    const auto busy = time.add({{7, kStart + 300'000, 50}, {8, kStart + 200'000, 10}}, kStart);
    EXPECT_DOUBLE_EQ(total(busy, 7), 150);
    EXPECT_DOUBLE_EQ(total(busy, 8), 20);
    EXPECT_EQ(busy.back().until_us, kStart + 300'000);
}

TEST(MeasuredTime, PeriodsOfTheDriver) {
    MeasuredTime time;
    std::vector<TimeSample> samples;
    for (unsigned i = 1; i <= 6; ++i) samples.push_back({7, kStart + i * kPeriod, 30});
    EXPECT_NEAR(total(time.add(samples, kStart), 7), 300, 1);
    // Idle periods have no sample: those that are there count once.
    const std::uint64_t later = kStart + 6 * kPeriod;
    EXPECT_NEAR(total(time.add({{7, later + 5 * kPeriod, 60}}, later), 7), 100, 1);
    // Two processes in one period.
    const auto both = time.add({{7, later + kPeriod, 60}, {8, later + kPeriod, 40}}, later);
    EXPECT_NEAR(total(both, 7) + total(both, 8), 166.7, 1);
}

TEST(MeasuredTime, NonsenseIsBounded) {
    MeasuredTime time;
    EXPECT_TRUE(time.add({}, kStart).empty());
    EXPECT_TRUE(time.add({{7, kStart, 50}, {7, kStart - 5, 50}}, kStart).empty());
    MeasuredTime fresh;
    EXPECT_NEAR(total(fresh.add({{7, kStart + 3'600'000'000, 400}}, kStart), 7), 166.7, 1);
}

}  // namespace
}  // namespace egpu::isolation
