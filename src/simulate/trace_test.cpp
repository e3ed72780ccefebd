#include "simulate/trace.h"

#include <gtest/gtest.h>

#include "simulate/small_trace_for_test.h"

namespace egpu::simulate {
namespace {

constexpr const char* kPodHeader = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n";

std::string refused_nodes(const std::string& text) {
    const auto cluster = parse_cluster("n.csv", text);
    return cluster.ok() ? "accepted" : cluster.error().message;
}

std::string refused_pods(const std::string& text) {
    const auto workload = parse_workload("p.csv", text, small_cluster());
    return workload.ok() ? "accepted" : workload.error().message;
}

TEST(Trace, ReadsNodesSortedByName) {
    const Cluster cluster = small_cluster();
    ASSERT_EQ(cluster.nodes.size(), 3u);
    EXPECT_EQ(cluster.cards(), 6);
    EXPECT_EQ(cluster.nodes[0].name, "n1");
    EXPECT_EQ(cluster.nodes[0].room.cards, 4);
    EXPECT_EQ(cluster.nodes[0].room.free_total(), 400);
    EXPECT_EQ(cluster.nodes[0].room.cpu_milli, 64000);
    EXPECT_EQ(cluster.models[cluster.nodes[0].room.model], "A10");
    EXPECT_EQ(cluster.nodes[2].room.model, 0);
}

TEST(Trace, ReadsPodsByColumnNames) {
    const Cluster cluster = small_cluster();
    // Columns in another order, without models and times.
    const auto workload = parse_workload(
        "/some/where/list.v1.csv",
        "gpu_milli,num_gpu,memory_mib,cpu_milli,name\n465,1,20,10,b\n"
        "1000,2,20,10,a\n,0,20,10,c\n",
        cluster
    );
    ASSERT_TRUE(workload.ok()) << workload.error().message;
    EXPECT_EQ(workload->name, "list.v1");
    EXPECT_EQ(workload->rounded, 1u);
    ASSERT_EQ(workload->pods.size(), 3u);
    EXPECT_EQ(workload->pods[0].shape, (core::Shape{10, 20, 0, 2, 100}));
    EXPECT_EQ(workload->pods[1].shape, (core::Shape{10, 20, 0, 1, 47}));
    EXPECT_EQ(workload->pods[2].shape, (core::Shape{10, 20, 0, 0, 0}));
    EXPECT_FALSE(workload->pods[0].created);
}

TEST(Trace, ModelsAreThoseOfTheCluster) {
    const Cluster cluster = small_cluster();
    const auto workload = parse_workload(
        "p.csv",
        std::string(kPodHeader) + "a,1,1,1,1000,T4|A10\nb,1,1,1,1000,V100\nc,1,1,1,1000,\n",
        cluster
    );
    ASSERT_TRUE(workload.ok());
    const core::Room& n1 = cluster.nodes[0].room;
    const core::Room& n2 = cluster.nodes[1].room;
    EXPECT_TRUE(core::fits(n1, workload->pods[0].shape) && core::fits(n2, workload->pods[0].shape));
    EXPECT_FALSE(
        core::fits(n1, workload->pods[1].shape) || core::fits(n2, workload->pods[1].shape)
    );
    EXPECT_TRUE(core::fits(n1, workload->pods[2].shape));
}

TEST(Trace, ErrorsNameFileLineAndColumn) {
    const std::string header = "sn,cpu_milli,memory_mib,gpu,model\n";
    EXPECT_EQ(
        refused_nodes(header + "a,1,1,1,\na,1,1,1,\n"),
        "n.csv:3: column sn: \"a\" is there twice; names must differ"
    );
    EXPECT_EQ(
        refused_nodes(header + "a,1,1,17,\n"),
        "n.csv:2: column gpu: \"17\" is not a whole number from 0 to 16"
    );
    EXPECT_EQ(refused_nodes(header + ",1,1,1,\n"), "n.csv:2: column sn: a node needs a name");
    EXPECT_EQ(refused_nodes(header + "a,1,1,0,\n"), "n.csv: no node has a card (column gpu)");
    std::string models = header;
    for (int i = 0; i < 63; ++i) {
        models += "n" + std::to_string(i) + ",1,1,1,m" + std::to_string(i) + "\n";
    }
    EXPECT_EQ(
        refused_nodes(models), "n.csv:64: column model: more than 62 different models; merge some"
    );
    EXPECT_EQ(
        refused_pods(std::string(kPodHeader) + "a,1,1,1,1001,\n"),
        "p.csv:2: column gpu_milli: \"1001\" is not a whole number from 0 to 1000"
    );
    EXPECT_EQ(
        refused_pods(std::string(kPodHeader) + "a,1,1,1,0,\n"),
        "p.csv:2: column gpu_milli: 0 of a card, but num_gpu asks for cards"
    );
    EXPECT_EQ(
        refused_pods(std::string(kPodHeader) + "a,1,1,0,0,\n"),
        "p.csv: no pod asks for a card (column num_gpu)"
    );
    EXPECT_EQ(
        refused_pods("name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n"
                     "a,1,1,1,500,100,99\n"),
        "p.csv:2: column deletion_time: \"99\" is not a whole number from 100 to 1099511627776"
    );
}

}  // namespace
}  // namespace egpu::simulate
