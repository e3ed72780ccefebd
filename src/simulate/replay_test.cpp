#include "simulate/replay.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "simulate/departures.h"
#include "simulate/machine_room.h"
#include "simulate/small_trace_for_test.h"

namespace egpu::simulate {
namespace {

RunResult run(
    const Cluster& cluster,
    const Workload& workload,
    const char* policy,
    std::uint64_t seed = 42,
    const RunOptions& options = {}
) {
    std::atomic<int> progress{0};
    const auto replay_it = options.departures ? replay_with_departures : replay;
    auto result = replay_it(
        {.cluster = cluster,
         .workload = workload,
         .scorer = *core::find_scorer(policy),
         .seed = seed,
         .options = options,
         .progress = progress}
    );
    EG_CHECK(result.ok());
    return std::move(*result);
}

TEST(Arrivals, AllPodsThenSomeAgainUpToTheLimit) {
    const Cluster cluster = small_cluster();
    const Workload workload = small_workload(cluster);
    double all = 0;
    for (const TracePod& pod : workload.pods) all += pod.shape.gpu();
    const double inflate = 1.5 * all / cluster.cards();
    const auto order = *arrivals(workload, ArrivalOrder::kShuffle, inflate, cluster.cards(), 42);
    ASSERT_GT(order.size(), workload.pods.size());
    const std::set<std::uint32_t> first(order.begin(), order.begin() + 120);
    EXPECT_EQ(first.size(), 120u);
    EXPECT_FALSE(std::is_sorted(order.begin(), order.begin() + 120));
    double asked = 0;
    for (const std::uint32_t pod : order) asked += workload.pods[pod].shape.gpu();
    EXPECT_LE(asked, 1.5 * all);
    EXPECT_GT(asked, 1.5 * all - 2);
    EXPECT_EQ(order, *arrivals(workload, ArrivalOrder::kShuffle, inflate, cluster.cards(), 42));
    EXPECT_NE(order, *arrivals(workload, ArrivalOrder::kShuffle, inflate, cluster.cards(), 43));
    // A limit below the workload cuts it.
    const auto cut = *arrivals(workload, ArrivalOrder::kShuffle, 0.5, cluster.cards(), 42);
    EXPECT_TRUE(std::equal(cut.begin(), cut.end(), order.begin()));
    EXPECT_LT(cut.size(), 10u);
}

TEST(MachineRoom, TiesBetweenNodesAreBrokenByTheSeed) {
    const Cluster cluster = small_cluster();
    core::Shape cpu_only;
    cpu_only.cpu_milli = 1000;
    std::set<std::int32_t> cpus;  // of the node taken, told apart by its CPU
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        core::FleetOptions options;
        options.seed = seed;
        std::set<std::int32_t> same;
        for (int again = 0; again < 2; ++again) {
            MachineRoom room(cluster, *core::find_scorer("gpu-packing"), options);
            const auto held = room.place(cpu_only, 1);
            ASSERT_TRUE(held);
            same.insert(room.fleet().room(held->node)->cpu_milli + 1000);
        }
        EXPECT_EQ(same.size(), 1u) << "seed " << seed;
        cpus.merge(same);
    }
    EXPECT_EQ(cpus, (std::set<std::int32_t>{16000, 32000, 64000}));
}

TEST(Arrivals, ByCreationTime) {
    const Cluster cluster = small_cluster();
    Workload workload = small_workload(cluster);
    std::swap(workload.pods[3].created, workload.pods[7].created);
    const auto order = *arrivals(workload, ArrivalOrder::kTrace, 1, cluster.cards(), 42);
    const std::vector<std::uint32_t> expected{0, 1, 2, 7, 4, 5};
    ASSERT_GE(order.size(), 6u);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), order.begin()));
    workload.pods[5].created.reset();
    EXPECT_EQ(
        arrivals(workload, ArrivalOrder::kTrace, 1, cluster.cards(), 42).error().message,
        "--arrivals trace: pod pod-1005 of pods has no creation_time; use --arrivals shuffle"
    );
}

TEST(Arrivals, TimedOnesComeAtTheRate) {
    const Cluster cluster = small_cluster();
    const Workload workload = small_workload(cluster);
    for (const ArrivalOrder order : {ArrivalOrder::kShuffle, ArrivalOrder::kTrace}) {
        const auto timed = *timed_arrivals(workload, order, 20, 0.5, 42);
        ASSERT_EQ(timed.size(), 2400u);
        EXPECT_NEAR(timed.back().time, 4800, 400);
        EXPECT_TRUE(std::is_sorted(timed.begin(), timed.end(), [](const auto& a, const auto& b) {
            return a.time < b.time;
        }));
    }
}

// Three nodes of one card; worked out by hand.
TEST(Replay, FollowsTheProtocol) {
    const auto cluster = *parse_cluster(
        "n.csv", "sn,cpu_milli,memory_mib,gpu\na,4000,100,1\nb,4000,100,1\nc,1000,100,1\n"
    );
    const auto workload = *parse_workload(
        "p.csv",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time\n"
        "p1,2000,10,1,600,1\n"   // a
        "p2,2000,10,1,600,2\n"   // b: a has 40 left
        "p3,2000,10,1,400,3\n"   // a
        "p4,2000,10,1,1000,4\n"  // c has the card, not the CPU: dropped
        "p5,1000,10,0,0,5\n"     // no card
        "p6,0,200,1,100,6\n",    // nobody has the memory
        cluster
    );
    RunOptions options;
    options.order = ArrivalOrder::kTrace;
    options.inflate = 2.8 / 3;
    const RunResult result = run(cluster, workload, "binpack", 42, options);
    EXPECT_NEAR(result.allocated_at_end, 100 * 1.6 / 3, 0.5);
    EXPECT_EQ(result.allocated_at_100, -1);
    EXPECT_EQ(result.classes[0].arrived, 4);
    EXPECT_EQ(result.classes[0].placed, 3);
    EXPECT_EQ(result.classes[1].arrived, 1);
    EXPECT_EQ(result.classes[1].placed, 0);
    EXPECT_EQ(result.classes[3].placed, 1);
    ASSERT_TRUE(result.curve.back().free_by_cause);
    EXPECT_NEAR(
        result.curve.back().free_by_cause->sum(), 100 - result.curve.back().allocated_pct, 1e-6
    );
}

TEST(Replay, EveryPolicyRunsAndTheCurveIsWhole) {
    const Cluster cluster = small_cluster();
    const Workload workload = small_workload(cluster);
    for (const core::Scorer& scorer : core::scorers()) {
        const RunResult result = run(cluster, workload, scorer.name.data());
        EXPECT_GT(result.allocated_at_end, 60) << scorer.name;
        EXPECT_GE(result.allocated_at_end, result.allocated_at_100);
        EXPECT_EQ(result.curve.front().allocated_pct, 0);
        EXPECT_EQ(result.curve.back().allocated_pct, result.allocated_at_end);
        for (std::size_t i = 1; i < result.curve.size(); ++i) {
            EXPECT_GE(result.curve[i].allocated_pct, result.curve[i - 1].allocated_pct);
            EXPECT_GE(result.curve[i].arrived_pct, result.curve[i - 1].arrived_pct);
        }
        const RunResult again = run(cluster, workload, scorer.name.data());
        EXPECT_EQ(result.allocated_at_end, again.allocated_at_end) << scorer.name;
    }
}

TEST(Departures, LightLoadWaitsForNobody) {
    const Cluster cluster = small_cluster();
    const Workload workload = small_workload(cluster);
    RunOptions options;
    options.departures = true;
    options.inflate = 0.05;
    options.copies = 4;
    const RunResult result = run(cluster, workload, "best-fit", 42, options);
    EXPECT_NEAR(result.allocated_mean, 5, 2);
    EXPECT_NEAR(result.waiting_mean, 0, 0.05);
    for (const ClassCount& count : result.classes)
        EXPECT_EQ(count.arrived, count.placed + count.waiting);
}

TEST(Departures, OverloadFillsTheClusterAndQueues) {
    const Cluster cluster = small_cluster();
    const Workload workload = small_workload(cluster);
    RunOptions options;
    options.departures = true;
    options.inflate = 2;
    options.copies = 10;
    for (const char* policy : {"binpack", "fgd", "fill-gradient"}) {
        const RunResult result = run(cluster, workload, policy, 42, options);
        EXPECT_GT(result.allocated_mean, 75) << policy;
        EXPECT_LE(result.allocated_mean, 100);
        EXPECT_GT(result.waiting_mean, 10);
        EXPECT_GT(result.card_hours, 0);
        std::int64_t waiting = 0;
        for (const ClassCount& count : result.classes) {
            EXPECT_EQ(count.arrived, count.placed + count.waiting);
            EXPECT_LE(count.wait_p50, count.wait_p99);
            EXPECT_LE(count.wait_p99, count.wait_max);
            waiting += count.waiting;
        }
        EXPECT_LE(waiting, result.curve.back().waiting);
        EXPECT_GT(waiting, 0);
        const RunResult again = run(cluster, workload, policy, 42, options);
        EXPECT_EQ(result.card_hours, again.card_hours);
    }
}

// One card, copies of 160 s with p1 at 0, p2 at 80 and p3 at 160 s, 100 s each. p2 waits for p1's
// end at 100; p3 fits beside it at once, the second p1 at 160 does not and waits until 200.
TEST(Departures, WhoFitsIsNotHeldUpByTheFirstInTheQueue) {
    const auto cluster = *parse_cluster("n.csv", "sn,cpu_milli,memory_mib,gpu\na,4000,100,1\n");
    const auto workload = *parse_workload(
        "p.csv",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n"
        "p1,0,0,1,600,0,100\n"
        "p2,0,0,1,600,50,150\n"
        "p3,0,0,1,400,100,200\n",
        cluster
    );
    RunOptions options;
    options.departures = true;
    options.order = ArrivalOrder::kTrace;
    options.copies = 2;  // the first copy is not measured, nor is the second's p1: it comes at 1/2
    options.inflate = 1;
    const RunResult result = run(cluster, workload, "binpack", 1, options);
    EXPECT_EQ(result.classes[0].arrived, 4);  // p3 of the first copy, at its end, and the second
    EXPECT_EQ(result.classes[0].placed + result.classes[0].waiting, 4);
    EXPECT_EQ(result.classes[0].wait_p50, 0);
    EXPECT_GT(result.classes[0].wait_max, 0);
}

TEST(Departures, NeedTimes) {
    const Cluster cluster = small_cluster();
    Workload workload = small_workload(cluster);
    workload.pods[4].lifetime.reset();
    std::atomic<int> progress{0};
    RunOptions options;
    options.departures = true;
    const RunInput input{
        .cluster = cluster,
        .workload = workload,
        .scorer = *core::find_scorer("binpack"),
        .seed = 1,
        .options = options,
        .progress = progress};
    EXPECT_EQ(
        replay_with_departures(input).error().message,
        "--departures: pod pod-1004 of pods has no creation_time and deletion_time"
    );
    for (TracePod& pod : workload.pods) pod.lifetime = 0;
    EXPECT_EQ(
        replay_with_departures(input).error().message,
        "--departures: no pod of pods holds a card for a time"
    );
}

}  // namespace
}  // namespace egpu::simulate
