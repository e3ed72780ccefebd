// A cluster's Kubernetes version and what its kube-scheduler reads. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu::cli {

// "1.34", "v1.34.2", "1.21.3+k3s1", "1.21+": the minor version (34, 34, 21, 21). `flag` names where
// the text comes from in errors.
Result<int> parse_kube_version(std::string_view flag, const std::string& text);

// A version of the KubeSchedulerConfiguration API and the Kubernetes 1.x that serve it.
struct ConfigApi {
    std::string_view version;  // "v1beta2"
    int first;
    int last;
};
inline constexpr std::string_view kConfigGroup = "kubescheduler.config.k8s.io";
inline constexpr int kNoLast = 1 << 30;
// The legacy Policy is read up to 1.22.
inline constexpr int kLastPolicyMinor = 22;
inline constexpr int kFirstConfigMinor = 19;  // before that only alpha versions

std::span<const ConfigApi> config_apis();  // oldest first
const ConfigApi* find_config_api(std::string_view version);
// What to write for Kubernetes 1.`minor` (from kFirstConfigMinor on).
std::string_view best_config_api(int minor);

}  // namespace egpu::cli
