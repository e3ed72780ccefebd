// Between the API's JSON and the embedded kubelet's plain structs: what a pod asks of the kubelet,
// and what the kubelet reports about a pod and its node. Pure.
//
// Contract: v1.Pod (spec, status), v1.Node (status), v1.DeleteOptions.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

// The containers of a pod with this annotation end by themselves after so long (Go duration: "3s",
// "500ms") and are not started again: the pod becomes Succeeded.
inline constexpr std::string_view kAnnotationRunFor = "demo.edge-gpu.io/run-for";

// "3s", "1m30s", "250ms".
Result<Duration> parse_go_duration(std::string_view text);

// kInvalid names the field.
Result<testing::PodSpec> kubelet_pod(const json::value& pod);

struct PodAddresses {
    std::string host;
    std::string pod;
};
// A strategic merge patch for pods/NAME/status with the pod's uid as precondition.
json::value pod_status_patch(
    const testing::PodStatus& status,
    const json::value& pod,
    const PodAddresses& addresses,
    testing::Dialect dialect
);

struct NodeFacts {
    std::string name;
    std::string kubelet_version;  // "v1.34.9"
    std::string address;
    std::string cpu = "32";
    std::string memory = "131072Mi";
    int pods = 110;
    std::map<std::string, std::string> labels;
};
// The whole Node, for its creation.
json::value node_object(const NodeFacts& facts);
// A strategic merge patch for nodes/NAME/status.
json::value node_status_patch(
    const NodeFacts& facts,
    const std::map<std::string, std::int64_t>& capacity,
    const std::map<std::string, std::int64_t>& allocatable
);

// RFC 3339 in UTC with seconds, as metav1.Time.
std::string api_time(std::chrono::system_clock::time_point at);

}  // namespace egpu::sim
