#include "sim/node_scores.h"

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

constexpr std::int64_t kGi = std::int64_t{1} << 30;

SchedNode node() {
    SchedNode out;
    out.allocatable = {{"cpu", 4000}, {"memory", 8 * kGi}};
    return out;
}

SchedPod pod(std::int64_t cpu, std::int64_t memory) {
    SchedPod out;
    if (cpu > 0) out.requests["cpu"] = cpu;
    if (memory > 0) out.requests["memory"] = memory;
    return out;
}

TEST(NodeScores, AnEmptyNodeIsPreferredToAUsedOne) {
    const SchedPod asks = pod(1000, 2 * kGi);
    EXPECT_EQ(plugins_score(asks, node(), {}), 75 + 100);
    EXPECT_EQ(plugins_score(asks, node(), {{"cpu", 2000}, {"memory", 4 * kGi}}), 25 + 100);
}

TEST(NodeScores, CpuAndMemoryInBalanceArePreferred) {
    // A quarter of the CPU and three quarters of the memory: (75 + 25) / 2, and 100 * (1 - 0.25).
    EXPECT_EQ(plugins_score(pod(1000, 6 * kGi), node(), {}), 50 + 75);
}

TEST(NodeScores, APodWithoutRequestsCountsALittle) {
    EXPECT_EQ(plugins_score(pod(0, 0), node(), {}), 97 + 99);
}

TEST(NodeScores, ANodeThatSaysNothingScoresNothing) {
    EXPECT_EQ(plugins_score(pod(1000, kGi), {}, {}), 0);
}

}  // namespace
}  // namespace egpu::sim
