#include "sim/scheduling_facts.h"

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

json::value parsed(std::string_view text) {
    auto out = json::parse(text);
    EXPECT_TRUE(out.ok()) << (out ? "" : out.error().message);
    return out ? *out : json::value();
}

SchedPod pod(std::string_view spec, std::string_view status = "{}") {
    auto out = sched_pod(parsed(
        R"({"kind":"Pod","metadata":{"name":"p","namespace":"ns","uid":"u","managedFields":[]},"spec":)" +
        std::string(spec) + R"(,"status":)" + std::string(status) + "}"
    ));
    EXPECT_TRUE(out.ok()) << (out ? "" : out.error().message);
    return *out;
}

SchedNode node(std::string_view allocatable, std::string_view spec = "{}") {
    auto out = sched_node(parsed(
        R"({"metadata":{"name":"n","labels":{"disk":"ssd"}},"spec":)" + std::string(spec) +
        R"(,"status":{"allocatable":)" + std::string(allocatable) + "}}"
    ));
    EXPECT_TRUE(out.ok()) << (out ? "" : out.error().message);
    return *out;
}

TEST(SchedulingFacts, RequestsAreThePeakOfThePodsLife) {
    const SchedPod p = pod(R"({
        "initContainers":[
            {"name":"i1","resources":{"limits":{"nano-gpu/gpu-percent":"70"}}},
            {"name":"side","restartPolicy":"Always","resources":{"requests":{"nano-gpu/gpu-percent":"10","cpu":"100m"}}},
            {"name":"i2","resources":{"limits":{"nano-gpu/gpu-percent":65}}}],
        "containers":[
            {"name":"a","resources":{"limits":{"nano-gpu/gpu-percent":"20","cpu":"1"},"requests":{"cpu":"0.5"}}},
            {"name":"b","resources":{"limits":{"nano-gpu/gpu-percent":"30","memory":"1Gi"}}}]})");
    EXPECT_EQ(p.requests.at("nano-gpu/gpu-percent"), 75);  // the sidecar beside i2
    EXPECT_EQ(p.requests.at("cpu"), 600);
    EXPECT_EQ(p.requests.at("memory"), 1 << 30);
}

TEST(SchedulingFacts, ThePodIsSentWithoutTypeAndManagedFields) {
    const SchedPod p = pod(R"({"containers":[]})");
    EXPECT_EQ(json::find(*p.object, {"kind"}), nullptr);
    EXPECT_EQ(json::find(*p.object, {"metadata", "managedFields"}), nullptr);
    EXPECT_EQ(json::get_string(*p.object, {"metadata", "name"}), "p");
}

TEST(SchedulingFacts, PriorityGatesAndConditions) {
    EXPECT_EQ(pod(R"({"priority":7})").priority, 7);
    EXPECT_EQ(pod(R"({"priorityClassName":"system-node-critical"})").priority, 2'000'001'000);
    EXPECT_TRUE(pod(R"({"schedulingGates":[{"name":"g"}]})").gated);
    EXPECT_FALSE(pod(R"({"preemptionPolicy":"Never"})").preempts);
    EXPECT_EQ(
        pod("{}",
            R"({"conditions":[{"type":"PodScheduled","status":"False","reason":"R","message":"m"}]})"
        )
            .condition,
        "R m"
    );
}

TEST(SchedulingFacts, WhyNot) {
    const char* const roomy = R"({"pods":"3","cpu":"2","nvidia.com/gpu":"4"})";
    const SchedPod asks =
        pod(R"({"containers":[{"name":"a","resources":{"limits":{"nvidia.com/gpu":"2"}}}]})");
    EXPECT_EQ(why_not(asks, node(roomy), {}).reason, "");
    EXPECT_EQ(
        why_not(asks, node(roomy), {{"nvidia.com/gpu", 3}}).reason, "Insufficient nvidia.com/gpu"
    );
    EXPECT_FALSE(why_not(asks, node(roomy), {{"nvidia.com/gpu", 3}}).unresolvable);
    EXPECT_TRUE(why_not(asks, node(R"({"pods":"3"})"), {}).unresolvable);
    EXPECT_EQ(why_not(asks, node(roomy), {{"pods", 3}}).reason, "Too many pods");
    EXPECT_EQ(
        why_not(asks, node(roomy, R"({"unschedulable":true})"), {}).reason,
        "node(s) were unschedulable"
    );
    const char* const taint = R"({"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]})";
    EXPECT_EQ(why_not(asks, node(roomy, taint), {}).reason, "node(s) had untolerated taint {k: v}");
    const SchedPod tolerant = pod(R"({"tolerations":[{"key":"k","operator":"Exists"}]})");
    EXPECT_EQ(why_not(tolerant, node(roomy, taint), {}).reason, "");
    EXPECT_EQ(why_not(pod(R"({"nodeSelector":{"disk":"ssd"}})"), node(roomy), {}).reason, "");
    EXPECT_EQ(
        why_not(pod(R"({"nodeSelector":{"disk":"hdd"}})"), node(roomy), {}).reason,
        "node(s) didn't match Pod's node affinity/selector"
    );
}

TEST(SchedulingFacts, UnavailableTextCountsAndSortsReasons) {
    EXPECT_EQ(
        unavailable_text(
            3,
            {{"a", "no card with 60 percent free"},
             {"b", "Insufficient cpu"},
             {"c", "Insufficient cpu"}}
        ),
        "0/3 nodes are available: 1 no card with 60 percent free, 2 Insufficient cpu."
    );
    EXPECT_EQ(unavailable_text(0, {}), "no nodes available to schedule pods");
    EXPECT_EQ(unavailable_text(2, {}), "0/2 nodes are available:");
    EXPECT_EQ(
        unavailable_text(12, {{"a", "full"}, {"b", "sick"}}, "full"),
        "0/12 nodes are available: 1 sick, 11 full."
    );
}

TEST(SchedulingFacts, AVictimIsKnownByItsCondition) {
    const auto with = [](const std::string& reason) {
        return *sched_pod(parsed(
            R"({"metadata":{"name":"p","uid":"u"},"status":{"conditions":[
                {"type":"PodScheduled","status":"True"},
                {"type":"DisruptionTarget","status":"True","reason":")" +
            reason + R"("}]}})"
        ));
    };
    EXPECT_TRUE(with("PreemptionByScheduler").preempted);
    EXPECT_FALSE(with("EvictionByEvictionAPI").preempted);
}

TEST(SchedulingFacts, BadObjectsAreErrors) {
    EXPECT_FALSE(sched_pod(parsed(R"({"metadata":{}})")).ok());
    EXPECT_FALSE(sched_node(parsed("[]")).ok());
    EXPECT_FALSE(amount_of("cpu", "lots").ok());
    EXPECT_FALSE(sched_pod(parsed(R"({"metadata":{"name":"p","uid":"u"},"spec":{"containers":[
            {"name":"a","resources":{"limits":{"nvidia.com/gpu":"x"}}}]}})"))
                     .ok());
}

}  // namespace
}  // namespace egpu::sim
