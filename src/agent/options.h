// Flags and environment of `edge-gpu agent`: its own, those of nano-gpu-agent (`-nodename`,
// `-dbfile`, klog's) and the environment of NVIDIA's device plugin that has a meaning here. Pure
// but for a look at --dbfile and NVIDIA's --config-file: the environment comes in as a map. Errors
// are one sentence that names the flag, the value and what is possible.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "agent/device_ids.h"
#include "base/log.h"
#include "base/result.h"
#include "flags/environment.h"
#include "inject/injector.h"

namespace egpu::agent {

struct Options {
    std::string node_name;
    std::string kubeconfig;  // "": in-cluster, else no API server
    std::filesystem::path kubelet_root = "/var/lib/kubelet";
    std::filesystem::path device_plugin_dir;     // <kubelet root>/device-plugins
    std::filesystem::path pod_resources_socket;  // <kubelet root>/pod-resources/kubelet.sock
    std::filesystem::path state_dir = "/var/lib/edge-gpu";
    std::string nvml_library = "libnvidia-ml.so.1";
    inject::InjectOptions inject;
    std::vector<Resource> resources{Resource::kWhole, Resource::kPercent};
    // NVIDIA's time-slicing (its configuration file): devices of nvidia.com/gpu on each card.
    int replicas = 1;
    bool one_replica_a_container = false;    // failRequestsGreaterThanOne
    bool distribute_replicas = true;         // sharedDevicesAllocationPolicy
    std::string isolation = "none";          // --isolation: auto, guard, mig, none
    std::filesystem::path guard_library;     // of guard and auto
    std::string on_bypass = "report";        // --on-bypass: report, kill
    std::string listen = "127.0.0.1:39998";  // "": no HTTP server
    std::string xid_policy = "edge";
    std::string disable_healthchecks;  // DP_DISABLE_HEALTHCHECKS
    std::string enable_healthchecks;   // DP_ENABLE_HEALTHCHECKS
    log::Level log_level = log::Level::kInfo;
    log::Format log_format = log::Format::kLogfmt;
    bool print_config = false;
    std::vector<std::string>
        notes;  // to be logged once: accepted for compatibility, without effect
};

// What to do after parsing: run with `options`, or print `text` to standard output and exit 0.
struct ParsedOptions {
    Options options;
    std::string text;  // not "": help or the configuration was asked for
};

using flags::Environment;

// `arguments` without the program name.
Result<ParsedOptions> parse_options(
    const std::vector<std::string>& arguments, const Environment& environment
);

// The effective configuration, one `key: value` a line (YAML), as --print-config shows it.
std::string describe(const Options& options);

}  // namespace egpu::agent
