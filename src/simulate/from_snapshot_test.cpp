#include "simulate/from_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cluster_for_test.h"

namespace egpu::simulate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FromSnapshot : public ::testing::Test, public core::ClusterBuilder {
  protected:
    Result<Cluster> nodes() { return cluster_of("f.json", {"", false, cluster}, notes); }
    Result<Workload> pods(const Cluster& on) {
        return workload_of("dir/f.json", {"", false, cluster}, on, notes);
    }
    std::vector<std::string> notes;
};

TEST_F(FromSnapshot, tells_snapshots_from_csv) {
    EXPECT_TRUE(looks_like_snapshot(" \n{\"kind\":1}"));
    EXPECT_FALSE(looks_like_snapshot("sn,cpu_milli\n"));
    EXPECT_FALSE(looks_like_snapshot(""));
}

TEST_F(FromSnapshot, nodes_with_all_they_have) {
    node("b", 4, "Tesla T4", {64'000, 1000});
    node("a", 2, "NVIDIA A10").inventory.cards[0].healthy = false;
    auto& mixed = node("c", 3, "Tesla T4");
    mixed.inventory.cards[2].model = "NVIDIA A10";
    node("d", 8).ready = false;
    node("e", 0).inventory.percent_units = 300;
    node("f", 0);
    pod("p", "b", 100, {0});
    const auto found = nodes();
    ASSERT_TRUE(found.ok()) << found.error().message;
    ASSERT_EQ(found->nodes.size(), 5U);
    EXPECT_EQ(found->nodes[0].name, "a");
    EXPECT_EQ(found->nodes[0].room.cards, 1);
    EXPECT_EQ(found->nodes[0].room.cpu_milli, core::kUnlimited);
    EXPECT_EQ(found->nodes[1].room.cpu_milli, 64'000);
    EXPECT_EQ(found->nodes[1].room.free[3], 100);  // as if empty
    EXPECT_EQ(found->models[found->nodes[2].room.model], "Tesla T4");
    EXPECT_EQ(found->nodes[2].room.cards, 2);
    EXPECT_EQ(found->nodes[3].room.cards, 3);
    EXPECT_EQ(found->nodes[4].room.cards, 0);
    EXPECT_EQ(found->cards(), 10);
    EXPECT_THAT(
        notes, ElementsAre(HasSubstr("1 node"), HasSubstr("1 unhealthy"), HasSubstr("second model"))
    );
}

TEST_F(FromSnapshot, pods_become_shapes) {
    node("a", 8, "Tesla T4");
    node("b", 1, "NVIDIA A10");
    pod("a-share", "a", 30, {0}, {1500, 2048}).created = "1970-01-02T00:00:01Z";
    auto& two = pod("b-two", "", 30, {0});
    two.request.containers.push_back(two.request.containers[0]);
    auto& big = pod("c-big", "", 70, {0});
    big.request.containers.push_back(big.request.containers[0]);
    pod("d-whole", "", 100, {0, 1}).request.models = {"A10", "H100"};
    auto& none = pod("e-none", "", 100, {0});
    none.request.models = {"H100"};
    none.created = "yesterday";
    pod("f-cpu", "a", 10, {}).request.containers.clear();
    const auto on = nodes();
    ASSERT_TRUE(on.ok());
    const auto found = pods(*on);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_EQ(found->name, "f");
    ASSERT_EQ(found->pods.size(), 6U);
    const auto shape = [&](int i) { return found->pods[static_cast<std::size_t>(i)].shape; };
    EXPECT_EQ(shape(0), (core::Shape{1500, 2048, 0, 1, 30}));
    EXPECT_EQ(found->pods[0].created, 86'401);
    EXPECT_FALSE(found->pods[0].lifetime);
    EXPECT_EQ(shape(1), (core::Shape{0, 0, 0, 1, 60}));
    EXPECT_EQ(shape(2), (core::Shape{0, 0, 0, 2, 70}));
    EXPECT_EQ(shape(3).cards, 2);
    EXPECT_TRUE(shape(3).allows(on->nodes[1].room.model));
    EXPECT_FALSE(shape(3).allows(on->nodes[0].room.model));
    for (const TraceNode& node : on->nodes) EXPECT_FALSE(shape(4).allows(node.room.model));
    EXPECT_FALSE(found->pods[4].created);
    EXPECT_EQ(shape(5).cards, 0);
    EXPECT_THAT(notes, IsEmpty());
}

TEST_F(FromSnapshot, what_cannot_be_simulated) {
    EXPECT_THAT(nodes().error().message, HasSubstr("no node that takes pods has a healthy card"));
    node("wide", 17);
    EXPECT_THAT(nodes().error().message, HasSubstr("node wide has 17 cards"));
    cluster.nodes.clear();
    node("a", 1);
    EXPECT_THAT(pods(*nodes()).error().message, HasSubstr("no pod asks for a card"));
}

}  // namespace
}  // namespace egpu::simulate
