// Checks an existing kube-scheduler configuration file: a KubeSchedulerConfiguration (YAML or JSON,
// every version of its API) or a legacy Policy. Says what keeps edge-gpu from being called, or from
// being called well. Pure; reads text that anybody may have written.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "cli/finding.h"

namespace egpu::cli {

struct CheckOptions {
    std::optional<int> minor;  // of the cluster's Kubernetes 1.x; absent: any
    bool cluster_dns = false;  // kube-scheduler's pod resolves Service names
};

struct CheckedConfig {
    std::string kind;         // "KubeSchedulerConfiguration" or "Policy"
    std::string api_version;  // as in the file
    Findings findings;        // sorted by line
};

// kInvalid when the text cannot be read as YAML or JSON; whatever else is wrong is a finding.
Result<CheckedConfig> check_config(const std::string& text, const CheckOptions& options);

}  // namespace egpu::cli
