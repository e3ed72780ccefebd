// What a pod asks for: from container limits and annotations to a checked PodRequest.
//
// Contract: `nvidia.com/gpu: N` = N whole cards; `nano-gpu/gpu-percent`: 1..100 =
// a share of one card, a multiple of 100 = that many whole cards, anything else is refused. Input
// is untrusted: every error names the field and the fix.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/host_amounts.h"

namespace egpu::core {

inline constexpr std::string_view kResourcePercent = "nano-gpu/gpu-percent";
inline constexpr std::string_view kResourceWhole = "nvidia.com/gpu";

inline constexpr std::string_view kAnnotationMemory =
    "edge-gpu.io/memory";  // "4Gi" or "main=4Gi,side=1Gi"
inline constexpr std::string_view kAnnotationPolicy = "edge-gpu.io/policy";    // a policy's name
inline constexpr std::string_view kAnnotationModel = "edge-gpu.io/gpu-model";  // "Tesla T4|A10"
inline constexpr std::string_view kAnnotationCompute =
    "edge-gpu.io/compute";  // hard|soft|burst|off
inline constexpr std::string_view kAnnotationPriority =
    "edge-gpu.io/priority";  // guaranteed|best-effort

inline constexpr std::int64_t kMaxMemoryCapMib = std::int64_t{1} << 30;  // 1 PiB

// How a container takes part in a pod's life (Kubernetes: initContainers without and with
// restartPolicy Always, containers).
enum class ContainerKind { kInit, kSidecar, kApp };

// The raw input of one container, in spec order: init containers and sidecars first.
struct ContainerSpec {
    std::string name;
    ContainerKind kind = ContainerKind::kApp;
    std::string
        percent;  // the quantity in limits (or requests) of nano-gpu/gpu-percent, "" when absent
    std::string whole;  // the quantity of nvidia.com/gpu, "" when absent
};

enum class ComputeMode { kHard, kSoft, kBurst, kOff };

// What a share does to its neighbours' work while its own wants the card, and they to it.
enum class GpuPriority { kNormal, kGuaranteed, kBestEffort };

struct ContainerRequest {
    std::string name;
    ContainerKind kind = ContainerKind::kApp;
    std::string_view resource = kResourcePercent;  // which of the two resources it used
    int percent = 0;                               // 1..100 for a share; 100 with whole cards
    int cards = 1;                                 // 1 for a share; N for whole cards
    bool whole = false;           // asks for whole cards (100 percent is one whole card)
    std::int64_t memory_mib = 0;  // explicit cap per card; 0: follows the percent

    // Kubelet device IDs it needs: cards for nvidia.com/gpu, percent units for
    // nano-gpu/gpu-percent.
    int units() const { return resource == kResourceWhole ? cards : percent * cards; }
    bool operator==(const ContainerRequest&) const = default;
};

struct PodRequest {
    std::vector<ContainerRequest> containers;  // only those that ask for a GPU, in spec order
    std::vector<std::string> models;  // acceptable card models, empty: any. Compared without case
    std::string policy;               // "" when the pod names none
    std::optional<ComputeMode> compute;
    // CPU and memory beside the cards, as kube-scheduler counts them: for policies, never a reason
    // to refuse. Not set by parse_request.
    HostAmounts host;
    GpuPriority priority = GpuPriority::kNormal;

    // No GPU; the pod may still ask for CPU and memory.
    bool empty() const { return containers.empty(); }
    bool operator==(const PodRequest&) const = default;
};

// kInvalid with a message fit for the pod's events, for example
// "container main: nano-gpu/gpu-percent 150 is neither 1..100 nor a multiple of 100".
// Zero quantities ask for nothing. A container that asks for both resources is refused. Annotations
// are looked at only when some container asks for a GPU. An unknown policy, model list, compute
// mode or priority is an error that lists what is possible.
Result<PodRequest> parse_request(
    const std::vector<ContainerSpec>& containers,
    const std::map<std::string, std::string>& annotations
);

}  // namespace egpu::core
