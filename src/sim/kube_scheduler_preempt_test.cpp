// Who is evicted for whom, when, and what becomes of a nomination.
#include "sim/kube_scheduler_for_test.h"

namespace egpu::sim {
namespace {

using testing::Dialect;

TEST_F(KubeSchedulerTest, PreemptionAsksTheExtenderAndEvictsItsChoice) {
    add_node("n1", 100);
    start();
    add_pod("low-1", 50, R"("priority":1,)");
    ASSERT_EQ(node_of("low-1"), "n1");
    add_pod("low-2", 50, R"("priority":2,)");
    ASSERT_EQ(node_of("low-2"), "n1");
    passes_preemption();
    add_pod("high", 50, R"("priority":10,)");
    // There is no kubelet: the graceful deletion is finished here.
    ASSERT_TRUE(asked_to_go("low-1"));
    (void)api_->remove({"pods", "default", "low-1"}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_TRUE(api_->get({"pods", "default", "low-2"}).ok());
    EXPECT_EQ(scheduler_->stats().preemptions, 1U);
    ASSERT_FALSE(extender_.calls("preempt").empty());
    const auto asked = extender_.calls("preempt")[0];
    EXPECT_TRUE(json::find(asked, {"NodeNameToVictims"})->is_null());
    EXPECT_EQ(json::get_array(asked, {"NodeNameToMetaVictims", "n1", "Pods"})->size(), 1U);
}

// The node is nominated and the cycle over before the first victim is asked to go; the next pod is
// scheduled meanwhile, the preemptor itself is not tried before its last victim's turn.
TEST_F(KubeSchedulerTest, VictimsAreEvictedBesideTheNextCycles) {
    add_node("n1", 100);
    start();
    add_pod("low-1", 50, R"("priority":1,)");
    ASSERT_EQ(node_of("low-1"), "n1");
    add_pod("low-2", 50, R"("priority":2,)");
    ASSERT_EQ(node_of("low-2"), "n1");
    passes_preemption();
    slow("DELETE", "/pods/low-2$", Seconds(3));
    add_pod("high", 100, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until([&] { return is_marked("low-2"); }, Seconds(10)));
    EXPECT_EQ(json::get_string(get("high"), {"status", "nominatedNodeName"}), "n1");
    EXPECT_TRUE(has_event(
        "FailedScheduling", "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent."
    ));
    const auto cycles = scheduler_->stats().cycles;
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    std::this_thread::sleep_for(Millis(300));  // its binding is an event
    EXPECT_EQ(json::get_string(get("low-2"), {"metadata", "deletionTimestamp"}), "");
    EXPECT_FALSE(is_marked("low-1"));
    EXPECT_EQ(scheduler_->stats().cycles, cycles + 1) << "the preemptor was tried, too";
    ASSERT_TRUE(asked_to_go("low-2"));
    ASSERT_TRUE(asked_to_go("low-1"));
    EXPECT_TRUE(is_marked("low-1"));
    const std::string uid(json::get_string(get("high"), {"metadata", "uid"}));
    EXPECT_TRUE(has_event("Preempted", "Preempted by pod " + uid + " on node n1"));
    EXPECT_TRUE(has_event(
        "FailedScheduling",
        "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent. no new claims to "
        "deallocate, preemption: not eligible due to a terminating pod on the nominated node."
    ));
    for (const char* name : {"low-1", "low-2"}) (void)api_->remove({"pods", "default", name}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_EQ(scheduler_->stats().preemptions, 1U);
}

TEST_F(KubeSchedulerTest, AFailedEvictionIsTriedAgainAtOnce) {
    add_node("n1", 100);
    options_.queue = {Seconds(20), Seconds(20), Seconds(20)};
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    api_->faults().fail_next(1, "PATCH", "/pods/low/status$", 400);
    add_pod("high", 50, R"("priority":10,)");
    ASSERT_TRUE(asked_to_go("low"));
    EXPECT_EQ(scheduler_->stats().preemptions, 2U);
}

TEST_F(KubeSchedulerTest, AnOutrankedNominationIsTakenBack) {
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    add_pod("middle", 60, R"("priority":5,)");
    ASSERT_TRUE(asked_to_go("low"));
    ASSERT_EQ(json::get_string(get("middle"), {"status", "nominatedNodeName"}), "n1");
    slow("PATCH", "/pods/middle/status$", Millis(500));
    add_pod("high", 60, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until(
        [&] {
            return json::get_string(get("high"), {"status", "nominatedNodeName"}) == "n1";
        },
        Seconds(10)
    ));
    // The victim's end is an event that the preemptor misses: it is not to be tried yet.
    (void)api_->remove({"pods", "default", "low"}, 0);
    EXPECT_EQ(node_of("high"), "n1");
    EXPECT_TRUE(api_->wait_until(
        [&] {
            return json::get_string(get("middle"), {"status", "nominatedNodeName"}).empty();
        },
        Seconds(10)
    ));
}

// 1.21: the cycle lasts until all victims were asked to go, no condition marks them, and the event
// says nothing about preemption.
TEST_F(KubeSchedulerTest, The1_21DialectEvictsWithinTheCycle) {
    options_.dialect = Dialect::k1_21;
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    passes_preemption();
    slow("DELETE", "/pods/low$", Seconds(1));
    add_pod("high", 50, R"("priority":10,)");
    ASSERT_TRUE(api_->wait_until([&] { return !extender_.calls("preempt").empty(); }, Seconds(10)));
    add_pod("plain", 0);
    EXPECT_EQ(node_of("plain"), "n1");
    EXPECT_NE(json::get_string(get("low"), {"metadata", "deletionTimestamp"}), "");
    EXPECT_FALSE(is_marked("low"));
    EXPECT_EQ(json::get_string(get("high"), {"status", "nominatedNodeName"}), "n1");
    EXPECT_TRUE(has_event("Preempted", "Preempted by default/high on node n1"));
    add_pod("meek", 100);
    EXPECT_TRUE(says("meek", "0/1 nodes are available: 1 Insufficient nano-gpu/gpu-percent."));
    EXPECT_FALSE(says("meek", "preemption", Millis(1)));
}

TEST_F(KubeSchedulerTest, AVictimThatIsNotOnTheNodeEndsThePreemption) {
    add_node("n1", 100);
    start();
    add_pod("low", 100);
    ASSERT_EQ(node_of("low"), "n1");
    extender_.on("preempt", [](const json::value&) {
        return json::value(json::object{
            {"NodeNameToMetaVictims",
             json::object{
                 {"n1",
                  json::object{
                      {"Pods", json::array{json::object{{"UID", "gone"}}}},
                      {"NumPDBViolations", 0}}}}}});
    });
    add_pod("high", 50, R"("priority":10,)");
    EXPECT_TRUE(says(
        "high", "gpu-percent. preemption: extender claims to preempt pod (UID: gone) on node: n1"
    ));
    EXPECT_EQ(scheduler_->stats().preemptions, 0U);
    EXPECT_TRUE(api_->get({"pods", "default", "low"}).ok());
}

}  // namespace
}  // namespace egpu::sim
