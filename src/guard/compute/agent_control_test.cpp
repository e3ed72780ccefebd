#include "guard/compute/agent_control.h"

#include <cmath>

#include <gtest/gtest.h>

namespace egpu::guard {
namespace {

constexpr std::uint64_t kTick = 100'000'000;

TEST(WeightedSplit, GivesByWeightAndNeverMoreThanWanted) {
    EXPECT_EQ(weighted_split(1, {1, 1}, {0.3, 0.1}), (std::vector<double>{0.75, 0.25}));
    const std::vector<double> got = weighted_split(1, {0.1, 1, 1}, {0.5, 0.2, 0.2});
    EXPECT_DOUBLE_EQ(got[0], 0.1);
    EXPECT_DOUBLE_EQ(got[1], 0.45);
    EXPECT_DOUBLE_EQ(got[2], 0.45);
    EXPECT_EQ(weighted_split(1, {0.2, 0.3}, {1, 1}), (std::vector<double>{0.2, 0.3}));
    EXPECT_TRUE(weighted_split(1, {}, {}).empty());
    EXPECT_EQ(weighted_split(1, {0, 2}, {0, 1}), (std::vector<double>{0, 1}));
}

TEST(PartOfActiveTime, IsTheMeanTurn) {
    EXPECT_DOUBLE_EQ(part_of_active_time({}), 1);
    EXPECT_DOUBLE_EQ(part_of_active_time({1}), 0.5);
    EXPECT_DOUBLE_EQ(part_of_active_time({1, 1, 1}), 0.25);
    EXPECT_DOUBLE_EQ(part_of_active_time({0.6}), 0.7);
    EXPECT_DOUBLE_EQ(part_of_active_time({-3, 0.001, 7}), 0.5);  // out of range is put right
}

// Containers that charge at a rate, really use another, and are measured in NVML's steps.
struct Model {
    struct Tenant {
        ContainerSample sample;
        double charges = 0;  // of the card
        double uses = 0;
        double busy = 0;
    };
    std::vector<Tenant> tenants;
    std::uint64_t now = 5'000'000'000;
    AgentControl control;
    std::vector<ContainerControl> answers;

    void add(std::uint64_t id, ComputeMode mode, double share, double charges, double uses) {
        Tenant tenant;
        tenant.sample.id = id;
        tenant.sample.mode = mode;
        tenant.sample.share_ppm = static_cast<std::uint32_t>(share * kWholePpm);
        tenant.sample.processes = {{.id = id * 10}};
        tenant.sample.largest_ns = 100'000;
        tenant.sample.measured = Measured{};
        tenant.charges = charges;
        tenant.uses = uses;
        tenants.push_back(tenant);
    }
    void run(int ticks, bool throttled = true) {
        for (int i = 0; i < ticks; ++i) {
            now += kTick;
            std::vector<ContainerSample> samples;
            for (Tenant& tenant : tenants) {
                const auto charged = static_cast<std::uint64_t>(tenant.charges * kTick);
                ProcessSample& process = tenant.sample.processes[0];
                process.charged_ns += charged;
                process.span_ns += charged;
                process.span_cost_ns += charged;
                if (charged != 0) tenant.sample.demand_ns = now;
                if (throttled) tenant.sample.throttled_ns += kTick / 2;
                tenant.busy += tenant.uses * kTick;
                if (tenant.sample.measured) *tenant.sample.measured = {tenant.busy, now};
                samples.push_back(tenant.sample);
            }
            answers = control.tick(now, samples);
        }
    }
};

TEST(AgentControl, TrimsWhatIsMeasuredAgainstWhatWasCharged) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.3, 0.3, 0.24);  // charged a quarter too much
    model.run(40);
    EXPECT_NEAR(model.answers[0].gain_ppm / 1e6, 1.25, 0.06);
    model.tenants[0].uses = 0.36;
    model.run(60);
    EXPECT_NEAR(model.answers[0].gain_ppm / 1e6, 0.833, 0.04);
}

TEST(AgentControl, AContainerThatWantsLessThanItsShareIsNotTrimmed) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.5, 0.1, 0.1);
    model.run(50, false);
    EXPECT_EQ(model.answers[0].gain_ppm, kWholePpm);
}

TEST(AgentControl, RoundingIsNotTrimmed) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.1, 0.1, 0.096);
    model.run(50);
    EXPECT_EQ(model.answers[0].gain_ppm, kWholePpm);
}

TEST(AgentControl, WithoutMeasurementsTheTrimGoesBackToOne) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.3, 0.3, 0.2);
    model.run(40);
    EXPECT_GT(model.answers[0].gain_ppm, 1'200'000U);
    model.tenants[0].sample.measured.reset();
    model.run(20);
    EXPECT_NEAR(model.answers[0].gain_ppm, kWholePpm, 100);
}

TEST(AgentControl, ALyingMeasurementIsBounded) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.3, 0.3, 0.0);
    model.add(2, ComputeMode::kHard, 0.3, 0.3, 3.0);
    model.run(60);
    EXPECT_LE(model.answers[0].gain_ppm, 2'000'000U);
    EXPECT_GE(model.answers[1].gain_ppm, 400'000U);
}

TEST(AgentControl, SoftContainersAreLentWhatIsIdle) {
    Model model;
    model.add(1, ComputeMode::kSoft, 0.2, 0.2, 0.2);
    model.add(2, ComputeMode::kHard, 0.5, 0, 0);
    model.run(5);
    EXPECT_GE(model.answers[0].rate_ppm, kWholePpm);
    EXPECT_EQ(model.answers[1].rate_ppm, 500'000U);
    // The neighbour wants its share: given back at the next tick.
    model.tenants[1].charges = model.tenants[1].uses = 0.5;
    model.run(1);
    EXPECT_NEAR(model.answers[0].rate_ppm / 1e6, 0.5, 0.01);
    // Two soft ones share what is left by weight.
    model.add(3, ComputeMode::kSoft, 0.1, 0.1, 0.1);
    model.run(5);
    EXPECT_NEAR(model.answers[0].rate_ppm / 1e6, 0.333, 0.01);
    EXPECT_NEAR(model.answers[2].rate_ppm / 1e6, 0.167, 0.01);
}

TEST(AgentControl, NeighboursAndContentionAreThoseOfOthers) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.3, 0.3, 0.3);
    model.run(5);
    EXPECT_EQ(model.answers[0].contention_ppm, kWholePpm);
    EXPECT_EQ(model.answers[0].neighbours, 0U);
    model.add(2, ComputeMode::kHard, 0.7, 0.7, 0.7);
    model.run(5);
    EXPECT_EQ(model.answers[0].neighbours, 1U);
    EXPECT_LT(model.answers[0].contention_ppm, 990'000U);
    model.tenants[1].charges = model.tenants[1].uses = 0;
    model.run(5);
    EXPECT_EQ(model.answers[0].neighbours, 0U);
    EXPECT_EQ(model.answers[0].contention_ppm, kWholePpm);
}

TEST(AgentControl, WorkThatNoLedgerTellsOfIsSeenByNvml) {
    Model model;
    model.add(1, ComputeMode::kSoft, 0.3, 0.3, 0.3);
    model.add(2, ComputeMode::kOff, 1, 0, 0.6);
    model.run(6);
    EXPECT_EQ(model.answers[0].neighbours, 1U);
    EXPECT_LT(model.answers[0].contention_ppm, 990'000U);
    EXPECT_LT(model.answers[0].rate_ppm, 500'000U);
    model.tenants[1].uses = 0;
    model.run(3);
    EXPECT_EQ(model.answers[0].neighbours, 0U);
    EXPECT_GE(model.answers[0].rate_ppm, kWholePpm);
}

TEST(AgentControl, TheGateFollowsDemand) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.5, 0, 0);
    model.tenants[0].sample.guaranteed = true;
    model.add(2, ComputeMode::kHard, 0.5, 0.5, 0.5);
    model.tenants[1].sample.best_effort = true;
    model.run(3);
    EXPECT_FALSE(model.answers[1].gated);
    model.tenants[0].charges = 0.5;
    model.run(1);
    EXPECT_TRUE(model.answers[1].gated);
    EXPECT_FALSE(model.answers[0].gated);
}

TEST(AgentControl, CountersThatGoBackAreARestart) {
    Model model;
    model.add(1, ComputeMode::kHard, 0.3, 0.3, 0.3);
    model.run(10);
    model.tenants[0].sample.processes[0] = {.id = 10};
    model.tenants[0].busy = 0;
    model.run(1);
    for (int i = 0; i < 40; ++i) {
        model.run(1);
        EXPECT_GT(model.answers[0].gain_ppm, 900'000U);
        EXPECT_LT(model.answers[0].gain_ppm, 1'100'000U);
    }
}

}  // namespace
}  // namespace egpu::guard
