// One seed of the real trace against the published results, where the trace lies beside the
// repository. Bounds are loose: docs/placement.md has the means over ten seeds.
#include <atomic>
#include <filesystem>
#include <string_view>

#include <gtest/gtest.h>

#include "base/files.h"
#include "simulate/replay.h"

namespace egpu::simulate {
namespace {

struct Published {
    const char* policy;
    double at_130;
    double tolerance;
};

TEST(PublishedTrace, OneSeedIsNearThePublishedMeans) {
    const std::filesystem::path folder = std::filesystem::path(EDGE_GPU_SHARED) / "traces";
    const auto nodes = read_file(folder / "openb_node_list_gpu_node.csv");
    const auto pods = read_file(folder / "openb_pod_list_default.csv");
    if (!nodes || !pods) GTEST_SKIP() << folder << " is not here";
    const auto cluster = parse_cluster("nodes", *nodes);
    ASSERT_TRUE(cluster.ok()) << cluster.error().message;
    EXPECT_EQ(cluster->nodes.size(), 1213u);
    EXPECT_EQ(cluster->cards(), 6212);
    const auto workload = parse_workload("default", *pods, *cluster);
    ASSERT_TRUE(workload.ok()) << workload.error().message;
    EXPECT_EQ(workload->pods.size(), 8152u);
    EXPECT_EQ(workload->rounded, 0u);
    const RunOptions options;
    const auto run_policy = [&](std::string_view policy) {
        std::atomic<int> progress{0};
        return replay(
            {.cluster = *cluster,
             .workload = *workload,
             .scorer = *core::find_scorer(policy),
             .seed = 42,
             .options = options,
             .progress = progress}
        );
    };
    double fgd = 0;
    for (const Published& each :
         {Published{"best-fit", 93.08, 0.8},
          {"random", 87.47, 1.2},
          {"dot-product", 90.85, 0.8},
          {"gpu-packing", 92.00, 1.2},
          {"gpu-clustering", 91.88, 1.2},
          {"fgd", 95.39, 0.4}}) {
        const auto run = run_policy(each.policy);
        ASSERT_TRUE(run.ok());
        EXPECT_NEAR(run->allocated_at_end, each.at_130, each.tolerance) << each.policy;
        fgd = run->allocated_at_end;
    }
    const auto ours = run_policy("fill-gradient");
    ASSERT_TRUE(ours.ok());
    EXPECT_GT(ours->allocated_at_end, fgd + 0.4);
}

}  // namespace
}  // namespace egpu::simulate
