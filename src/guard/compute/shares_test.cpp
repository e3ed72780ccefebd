// Requested against achieved shares, in virtual time (DESIGN section 9: within 2 points alone after
// a second, within 3 contended after three).
#include <gtest/gtest.h>

#include "core/replay_seed.h"
#include "guard/compute/scenarios_for_test.h"

namespace egpu::guard {
namespace {

class Shares : public ::testing::TestWithParam<Scenario> {};

std::string name_of(const ::testing::TestParamInfo<Scenario>& info) {
    std::string name = std::to_string(info.index) + "_" + info.param.name;
    for (const Tenant& tenant : info.param.tenants) name += "_" + tenant.work.name;
    for (char& c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    return name;
}

TEST_P(Shares, AreKept) {
    EG_TRACE_SEED();
    const Scenario& scenario = GetParam();
    const Outcome outcome = run(scenario, core::replay_seed());
    const bool alone = scenario.tenants.size() == 1;
    const double points = alone ? 0.02 : 0.03;
    for (std::size_t i = 0; i < scenario.tenants.size(); ++i) {
        EXPECT_NEAR(outcome.achieved[i], scenario.tenants[i].share, points) << "tenant " << i;
        // In a window of time, whole kernels fall in or out; one at either end.
        double longest = 0;
        for (const Shape& shape : scenario.tenants[i].work.shapes)
            longest = std::max(longest, static_cast<double>(shape.cost_ns));
        const double whole = longest * (1 + scenario.tenants[i].work.jitter) /
                             static_cast<double>(outcome.window_ns);
        EXPECT_LE(outcome.worst[i], points + 2 * whole) << "tenant " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Alone, Shares, ::testing::ValuesIn(alone()), name_of);
INSTANTIATE_TEST_SUITE_P(Contended, Shares, ::testing::ValuesIn(contended()), name_of);

Workload queued(std::uint64_t cost_ns, std::uint32_t blocks = 10'000) {
    return {.name = "queued", .shapes = {{.id = 30, .cost_ns = cost_ns, .blocks = blocks}}};
}

TEST(SharesElsewhere, ProcessesAndThreadsOfOneContainerShareItsBucket) {
    const Scenario scenario{
        .name = "40 of 3 processes",
        .tenants =
            {{.share = 0.4, .work = queued(100'000), .processes = 3, .threads = 2},
             {.share = 0.6, .work = queued(300'000)}},
        .seconds = 10};
    const Outcome outcome = run(scenario, 1);
    EXPECT_NEAR(outcome.achieved[0], 0.4, 0.03);
    EXPECT_NEAR(outcome.achieved[1], 0.6, 0.03);
}

TEST(SharesElsewhere, AreKeptWithoutNvml) {
    for (const std::uint64_t cost : {100'000U, 1'000'000U}) {
        const Scenario scenario{
            .name = "30/70",
            .tenants = {{.share = 0.3, .work = queued(cost)}, {.share = 0.7, .work = queued(cost)}},
            .seconds = 8,
            .nvml = false};
        const Outcome outcome = run(scenario, 1);
        EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03);
        EXPECT_NEAR(outcome.achieved[1], 0.7, 0.03);
    }
}

TEST(SharesElsewhere, AreKeptWithoutTheAgent) {
    for (const std::uint64_t cost : {20'000U, 100'000U, 1'000'000U}) {
        const Scenario alone{
            .name = "30",
            .tenants = {{.share = 0.3, .work = queued(cost)}},
            .seconds = 5,
            .nvml = false,
            .agent = false};
        EXPECT_NEAR(run(alone, 1).achieved[0], 0.3, 0.02);
        const Scenario both{
            .name = "30/70",
            .tenants = {{.share = 0.3, .work = queued(cost)}, {.share = 0.7, .work = queued(cost)}},
            .seconds = 8,
            .nvml = false,
            .agent = false};
        const Outcome outcome = run(both, 1);
        EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03);
        EXPECT_NEAR(outcome.achieved[1], 0.7, 0.03);
    }
}

// Equal progress at every instant instead of slices: every span is stretched, none is clean.
TEST(SharesElsewhere, AreKeptWhenSlicesAreVeryShort) {
    for (const std::uint64_t cost : {100'000U, 5'000'000U}) {
        Scenario scenario{
            .name = "30/70",
            .tenants = {{.share = 0.3, .work = queued(cost)}, {.share = 0.7, .work = queued(cost)}},
            .seconds = 15};
        scenario.card.slice_ns = 0;
        const Outcome outcome = run(scenario, 1);
        EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03) << cost;
        EXPECT_NEAR(outcome.achieved[1], 0.7, 0.03) << cost;
    }
}

// As on a real card: it idles until each call of the host has got to it, an event takes it most of
// a microsecond and tells half microseconds.
Scenario as_on_a_card(std::vector<Tenant> tenants, std::uint64_t record_ns) {
    Scenario scenario{.name = "short kernels", .tenants = std::move(tenants), .seconds = 4};
    scenario.card.record_ns = 800;
    scenario.card.event_step_ns = 500;
    scenario.host = {.exact = true, .record_ns = record_ns, .query_ns = record_ns / 3};
    scenario.agent = false;
    for (Tenant& tenant : scenario.tenants) tenant.work.launch_ns = 2 * record_ns;
    return scenario;
}

TEST(SharesOfShortKernels, AreKeptAlone) {
    for (const std::uint64_t us : {5U, 20U, 100U, 1'000U}) {
        for (const double share : {0.2, 0.7}) {
            for (const std::uint64_t record_ns : {1'800U, 3'000U}) {
                if (us * 1000 < 2 * record_ns) continue;  // the host does not keep the card busy
                const Scenario scenario =
                    as_on_a_card({{.share = share, .work = queued(us * 1000)}}, record_ns);
                EXPECT_NEAR(run(scenario, 1).achieved[0], share, 0.02)
                    << us << " us, a record " << record_ns << " ns";
            }
        }
    }
}

// The host times with which the controller before decision 0012 misses here what it missed on an
// H200: 20 percent of 20 us kernels got 34.5 (there 34.9), of 100 us kernels 21.8 (there 21.8), of
// 1 ms kernels 19.9 (there 19.9).
TEST(SharesOfShortKernels, AreKeptWithTheHostTimesOfAnH200) {
    for (const std::uint64_t us : {20U, 100U, 1'000U}) {
        for (const double share : {0.2, 0.5, 0.7}) {
            Scenario scenario = as_on_a_card({{.share = share, .work = queued(us * 1000)}}, 3'600);
            scenario.tenants[0].work.launch_ns = 5'000;
            EXPECT_NEAR(run(scenario, 1).achieved[0], share, 0.02) << us << " us";
        }
    }
}

// A card that loses 7 percent of its time to the changes between processes has not the 100 percent
// that were given away: the smaller share is kept, and nothing more than the changes is lost.
TEST(SharesOfShortKernels, TheSmallerOneIsKeptWhereSwitchingTakesTime) {
    for (const std::uint64_t us : {20U, 100U, 1'000U}) {
        const Workload work = queued(us * 1000);
        Scenario scenario =
            as_on_a_card({{.share = 0.3, .work = work}, {.share = 0.7, .work = work}}, 3'600);
        scenario.seconds = 8;
        scenario.card.switch_ns = 150'000;
        const Outcome outcome = run(scenario, 1);
        EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03) << us << " us";
        EXPECT_GT(outcome.achieved[0] + outcome.achieved[1], 0.9) << us << " us";
    }
}

TEST(SharesOfShortKernels, AreKeptBesideANeighbour) {
    struct Case {
        std::uint64_t us;
        std::uint64_t slice_ns;
        bool agent;
    };
    for (const Case& one :
         {Case{20, 2'000'000, false},
          Case{100, 2'000'000, false},
          Case{20, 100'000, true},
          Case{100, 100'000, true}}) {
        const Workload work = queued(one.us * 1000);
        Scenario scenario =
            as_on_a_card({{.share = 0.3, .work = work}, {.share = 0.7, .work = work}}, 2'000);
        scenario.seconds = 8;
        scenario.agent = one.agent;
        scenario.card.slice_ns = one.slice_ns;
        const Outcome outcome = run(scenario, 1);
        EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03) << one.us << " us, " << one.slice_ns;
        EXPECT_NEAR(outcome.achieved[1], 0.7, 0.03) << one.us << " us, " << one.slice_ns;
    }
}

// Under MPS kernels of several processes run beside each other; a share is one of the SMs' time.
TEST(SharesElsewhere, AreKeptWhenKernelsRunBesideEachOther) {
    // 132 of the 1,056 blocks that the card runs at once, and a card full.
    const Workload eighth{
        .name = "an eighth",
        .shapes = {{.id = 31, .cost_ns = 500'000, .blocks = 132, .threads = 256}}};
    Scenario scenario{
        .name = "5/50",
        .tenants = {{.share = 0.05, .work = eighth}, {.share = 0.5, .work = queued(300'000)}},
        .seconds = 10};
    scenario.card.spatial = true;
    scenario.nvml = false;
    const Outcome outcome = run(scenario, 1);
    EXPECT_NEAR(outcome.sm_share[0], 0.05, 0.03);
    EXPECT_NEAR(outcome.sm_share[1], 0.5, 0.05);
}

TEST(SharesElsewhere, AreKeptBesideANeighbourWithoutALimit) {
    for (const std::uint64_t cost : {100'000U, 5'000'000U}) {
        const Scenario scenario{
            .name = "30",
            .tenants =
                {{.share = 0.3, .work = queued(cost)},
                 {.share = 1, .work = queued(200'000), .mode = ComputeMode::kOff}},
            .seconds = 15};
        EXPECT_NEAR(run(scenario, 1).achieved[0], 0.3, 0.03) << cost;
    }
}

TEST(SharesElsewhere, SwitchingCostsNobodyHisShare) {
    Scenario scenario{
        .name = "30/50",
        .tenants =
            {{.share = 0.3, .work = queued(200'000)}, {.share = 0.5, .work = queued(500'000)}},
        .seconds = 10};
    scenario.card.switch_ns = 100'000;
    const Outcome outcome = run(scenario, 1);
    EXPECT_NEAR(outcome.achieved[0], 0.3, 0.03);
    EXPECT_NEAR(outcome.achieved[1], 0.5, 0.03);
}

}  // namespace
}  // namespace egpu::guard
