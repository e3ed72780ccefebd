// A pod's way through the cycle and the bind.
#include <atomic>

#include "sim/kube_scheduler_for_test.h"

namespace egpu::sim {
namespace {

using ::testing::IsEmpty;

// n2 is nearly full, which the default plugins dislike by more than a hundred points. One step of
// the extender's score outweighs that at the weight scheduler-config sets, and not at a small one.
class KubeSchedulerWeights : public KubeSchedulerTest {
  protected:
    void SetUp() override {
        KubeSchedulerTest::SetUp();
        add_node("n1", 100);
        add_node("n2", 100);
        ASSERT_TRUE(api_->load(*json::parse(
            R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"busy","namespace":"default"},)"
            R"("spec":{"nodeName":"n2","containers":[{"name":"main","image":"i","resources":)"
            R"({"requests":{"cpu":"3500m","memory":"7Gi"}}}]},"status":{"phase":"Running"}})"
        )));
        extender_.on("priorities", [](const json::value&) {
            return json::value(json::array{
                {{"Host", "n1"}, {"Score", 9}}, {{"Host", "n2"}, {"Score", 10}}});
        });
    }
};

TEST_F(KubeSchedulerWeights, TheExtendersWinnerIsChosen) {
    start();
    add_pod("p", 10);
    EXPECT_EQ(node_of("p"), "n2");
}

TEST_F(KubeSchedulerWeights, ASmallWeightDrowns) {
    options_.extender.weight = 5;
    start();
    add_pod("p", 10);
    EXPECT_EQ(node_of("p"), "n1");
}

TEST_F(KubeSchedulerTest, TheBestScoreWinsAndTheExtenderBinds) {
    add_node("n1", 100);
    add_node("n2", 100);
    add_node("full", 10);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n2");
    const auto filters = extender_.calls("filter");
    ASSERT_EQ(filters.size(), 1U);
    EXPECT_EQ(json::to_text(*json::find(filters[0], {"NodeNames"})), R"(["n1","n2"])");
    EXPECT_TRUE(json::find(filters[0], {"Nodes"})->is_null());
    EXPECT_EQ(json::get_string(filters[0], {"Pod", "metadata", "name"}), "a");
    auto pod = api_->get({"pods", "default", "a"});
    EXPECT_EQ(json::get_string(*pod, {"metadata", "annotations", "bound-by"}), "extender");
}

TEST_F(KubeSchedulerTest, PrioritiesAreSkippedForASingleNode) {
    add_node("n1", 100);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_THAT(extender_.calls("priorities"), IsEmpty());
}

TEST_F(KubeSchedulerTest, PodsWithoutAManagedResourceNeverMeetTheExtender) {
    add_node("n1", 100);
    start();
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    EXPECT_THAT(extender_.calls("filter"), IsEmpty());
    EXPECT_THAT(extender_.calls("bind"), IsEmpty());
}

TEST_F(KubeSchedulerTest, WholeNodesAreSentWithoutTheNodeCache) {
    options_.extender.node_cache_capable = false;
    extender_.on("filter", [](const json::value& arguments) {
        return json::value(json::object{
            {"Nodes", *json::find(arguments, {"Nodes"})}, {"NodeNames", nullptr}, {"Error", ""}});
    });
    add_node("n1", 100);
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    const auto filters = extender_.calls("filter");
    ASSERT_FALSE(filters.empty());
    EXPECT_TRUE(json::find(filters[0], {"NodeNames"})->is_null());
    const auto* items = json::get_array(filters[0], {"Nodes", "items"});
    ASSERT_NE(items, nullptr);
    EXPECT_EQ(json::get_string(items->at(0), {"status", "allocatable", "pods"}), "10");
}

TEST_F(KubeSchedulerTest, AnUnschedulablePodSaysWhyAndWaitsForAnEvent) {
    add_node("n1", 100);
    add_node("n2", 10);
    std::atomic<bool> room{false};
    extender_.on("filter", [&](const json::value& arguments) {
        if (room) return passes(arguments);
        return json::value(json::object{
            {"NodeNames", json::array{}},
            {"FailedNodes", json::object{{"n1", "no card with 60 percent free"}}},
            {"Error", ""}});
    });
    start();
    add_pod("a", 60);
    EXPECT_TRUE(says(
        "a",
        "0/2 nodes are available: 1 Insufficient nano-gpu/gpu-percent, 1 no card with 60 percent "
        "free."
    ));
    EXPECT_TRUE(has_event(
        "FailedScheduling",
        "0/2 nodes are available: 1 Insufficient nano-gpu/gpu-percent, 1 no card with 60 percent "
        "free. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption "
        "victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    ));
    const auto tries = extender_.calls("filter").size();
    std::this_thread::sleep_for(Millis(300));
    EXPECT_EQ(extender_.calls("filter").size(), tries) << "nothing has changed";
    room = true;
    ASSERT_TRUE(
        api_->patch({"nodes", "", "n1"}, *json::parse(R"({"metadata":{"labels":{"a":"b"}}})")).ok()
    );
    EXPECT_EQ(node_of("a"), "n1");
}

TEST_F(KubeSchedulerTest, ExtenderErrorsAreRetriedWithBackOff) {
    add_node("n1", 100);
    std::atomic<int> left{3};
    extender_.on("filter", [&](const json::value& arguments) {
        if (left-- > 0) return json::value(json::object{{"Error", "not synced yet"}});
        return passes(arguments);
    });
    start();
    add_pod("a", 20);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(scheduler_->stats().extender_errors, 3U);
}

TEST_F(KubeSchedulerTest, ABindErrorGivesTheRoomBack) {
    add_node("n1", 100);
    std::atomic<int> left{2};
    extender_.on("bind", [&](const json::value& arguments) {
        if (left-- > 0) return json::value(json::object{{"Error", "card taken meanwhile"}});
        return bind(arguments);
    });
    start();
    add_pod("a", 100);
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(scheduler_->stats().bind_errors, 2U);
}

TEST_F(KubeSchedulerTest, BindRunsBesideTheNextPodsFilter) {
    add_node("n1", 100);
    std::atomic<bool> hold{true};
    extender_.on("bind", [&](const json::value& arguments) {
        while (hold) std::this_thread::sleep_for(Millis(1));
        return bind(arguments);
    });
    start();
    add_pod("a", 60);
    add_pod("b", 40);
    add_pod("c", 20);
    for (int i = 0; i < 5000 && extender_.calls("filter").size() < 2; ++i) {
        std::this_thread::sleep_for(Millis(1));
    }
    EXPECT_GE(extender_.calls("filter").size(), 2U);
    EXPECT_TRUE(says("c", "Insufficient nano-gpu/gpu-percent")) << "assumed pods count";
    hold = false;
    EXPECT_EQ(node_of("a"), "n1");
    EXPECT_EQ(node_of("b"), "n1");
}

TEST_F(KubeSchedulerTest, ANodeNobodySentIsAnError) {
    add_node("n1", 100);
    std::atomic<bool> lie{true};
    extender_.on("filter", [&](const json::value& arguments) {
        if (!lie) return passes(arguments);
        return json::value(json::object{{"NodeNames", json::array{"elsewhere"}}, {"Error", ""}});
    });
    start();
    add_pod("a", 20);
    EXPECT_TRUE(says("a", "claims a filtered node \"elsewhere\""));
    lie = false;
    EXPECT_EQ(node_of("a"), "n1");
}

}  // namespace
}  // namespace egpu::sim
