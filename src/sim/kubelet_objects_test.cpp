#include "sim/kubelet_objects.h"

#include <gtest/gtest.h>

namespace egpu::sim {
namespace {

using testing::Dialect;

const PodAddresses kAddresses{"10.0.0.1", "10.244.0.1"};

json::value parsed(std::string_view text) {
    auto out = json::parse(text);
    EXPECT_TRUE(out.ok());
    return out ? *out : json::value();
}

const char* const kPod = R"({
  "metadata":{"name":"p","namespace":"ns","uid":"u-1","annotations":{}},
  "spec":{"restartPolicy":"OnFailure",
    "initContainers":[
      {"name":"warm","image":"w","resources":{"limits":{"nano-gpu/gpu-percent":"50"}}},
      {"name":"proxy","image":"x","restartPolicy":"Always"}],
    "containers":[{"name":"main","image":"m","env":[{"name":"A","value":"1"}],
      "resources":{"limits":{"nvidia.com/gpu":2,"cpu":"500m","memory":"1Gi","hugepages-2Mi":"4Mi"}}}]}})";

TEST(KubeletObjects, PodSpec) {
    auto spec = kubelet_pod(parsed(kPod));
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    EXPECT_EQ(spec->uid, "u-1");
    EXPECT_EQ(spec->restart, testing::RestartPolicy::kOnFailure);
    ASSERT_EQ(spec->containers.size(), 3U);
    EXPECT_EQ(spec->containers[0].kind, testing::ContainerKind::kInit);
    EXPECT_EQ(spec->containers[0].limits.at("nano-gpu/gpu-percent"), 50);
    EXPECT_EQ(spec->containers[1].kind, testing::ContainerKind::kSidecar);
    EXPECT_EQ(
        spec->containers[2].limits, (std::map<std::string, std::int64_t>{{"nvidia.com/gpu", 2}})
    );
    EXPECT_EQ(spec->containers[2].env.at("A"), "1");
    EXPECT_FALSE(spec->containers[2].run_for);
}

TEST(KubeletObjects, RunForEndsTheContainersForGood) {
    auto pod = parsed(kPod);
    json::find(pod, {"metadata", "annotations"})->as_object()[kAnnotationRunFor] = "1m30s";
    auto spec = kubelet_pod(pod);
    ASSERT_TRUE(spec.ok());
    EXPECT_EQ(spec->restart, testing::RestartPolicy::kNever);
    EXPECT_EQ(spec->containers[2].run_for, Duration(Seconds(90)));
    EXPECT_FALSE(spec->containers[1].run_for);
    json::find(pod, {"metadata", "annotations"})->as_object()[kAnnotationRunFor] = "soon";
    EXPECT_FALSE(kubelet_pod(pod).ok());
}

TEST(KubeletObjects, Durations) {
    EXPECT_EQ(*parse_go_duration("250ms"), Duration(Millis(250)));
    EXPECT_EQ(*parse_go_duration("1.5s"), Duration(Millis(1500)));
    EXPECT_EQ(*parse_go_duration("1h1m1s"), Duration(Seconds(3661)));
    for (const char* bad : {"", "3", "s", "3d", "-3s", "3s4", "1e9h", "999999999999h"}) {
        EXPECT_FALSE(parse_go_duration(bad).ok()) << bad;
    }
}

TEST(KubeletObjects, BadLimitsNameTheContainer) {
    auto pod = parsed(R"({"metadata":{"name":"p","uid":"u"},"spec":{"containers":[
        {"name":"main","resources":{"limits":{"nvidia.com/gpu":"many"}}}]}})");
    auto spec = kubelet_pod(pod);
    ASSERT_FALSE(spec.ok());
    EXPECT_NE(spec.error().message.find("container main"), std::string::npos)
        << spec.error().message;
}

TEST(KubeletObjects, StatusOfARunningPod) {
    testing::PodStatus status;
    status.uid = "u-1";
    status.phase = testing::PodPhase::kRunning;
    testing::ContainerStatus init{.name = "warm", .kind = testing::ContainerKind::kInit};
    init.state = testing::ContainerState::kTerminated;
    testing::ContainerStatus side{.name = "proxy", .kind = testing::ContainerKind::kSidecar};
    side.state = testing::ContainerState::kRunning;
    testing::ContainerStatus main{.name = "main"};
    main.state = testing::ContainerState::kWaiting;
    main.reason = "CreateContainerConfigError";
    main.message = "why";
    status.containers = {init, side, main};
    auto patch = pod_status_patch(status, parsed(kPod), kAddresses, Dialect::k1_34);
    EXPECT_EQ(json::get_string(patch, {"metadata", "uid"}), "u-1");
    EXPECT_EQ(json::get_string(patch, {"status", "phase"}), "Running");
    EXPECT_EQ(json::get_string(patch, {"status", "podIP"}), "10.244.0.1");
    const auto& inits = *json::get_array(patch, {"status", "initContainerStatuses"});
    ASSERT_EQ(inits.size(), 2U);
    EXPECT_TRUE(json::get_bool(inits[0], {"ready"}));
    EXPECT_EQ(json::get_string(inits[0], {"state", "terminated", "reason"}), "Completed");
    const auto& apps = *json::get_array(patch, {"status", "containerStatuses"});
    EXPECT_EQ(
        json::get_string(apps[0], {"state", "waiting", "reason"}), "CreateContainerConfigError"
    );
    EXPECT_EQ(json::get_string(apps[0], {"image"}), "m");
    const auto& conditions = *json::get_array(patch, {"status", "conditions"});
    EXPECT_EQ(json::get_string(conditions[0], {"status"}), "True");
    EXPECT_EQ(json::get_string(conditions[1], {"status"}), "False");
}

TEST(KubeletObjects, ARefusedPodSaysWhy) {
    testing::PodStatus status;
    status.uid = "u-1";
    status.phase = testing::PodPhase::kFailed;
    status.reason = "UnexpectedAdmissionError";
    status.message = "Allocate failed due to …";
    auto patch = pod_status_patch(status, parsed(kPod), kAddresses, Dialect::k1_34);
    EXPECT_EQ(json::get_string(patch, {"status", "phase"}), "Failed");
    EXPECT_EQ(json::get_string(patch, {"status", "reason"}), "UnexpectedAdmissionError");
    EXPECT_EQ(
        json::get_string(patch, {"status", "message"}), "Pod was rejected: Allocate failed due to …"
    );
    auto old = pod_status_patch(status, parsed(kPod), kAddresses, Dialect::k1_21);
    EXPECT_EQ(json::get_string(old, {"status", "message"}), "Pod Allocate failed due to …");
    EXPECT_EQ(json::find(patch, {"status", "podIP"}), nullptr);
}

TEST(KubeletObjects, NodeStatusNamesExtendedResources) {
    NodeFacts facts;
    facts.name = "n";
    auto patch = node_status_patch(facts, {{"nvidia.com/gpu", 4}}, {{"nvidia.com/gpu", 3}});
    EXPECT_EQ(json::get_string(patch, {"status", "capacity", "nvidia.com/gpu"}), "4");
    EXPECT_EQ(json::get_string(patch, {"status", "allocatable", "nvidia.com/gpu"}), "3");
    EXPECT_EQ(json::get_string(patch, {"status", "allocatable", "pods"}), "110");
    EXPECT_EQ(
        json::get_string(node_object(facts), {"metadata", "labels", "kubernetes.io/hostname"}), "n"
    );
}

TEST(KubeletObjects, ApiTime) {
    EXPECT_EQ(api_time(std::chrono::system_clock::from_time_t(0)), "1970-01-01T00:00:00Z");
}

}  // namespace
}  // namespace egpu::sim
