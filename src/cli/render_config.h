// Prints kube-scheduler's configuration with edge-gpu as its extender. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace egpu::cli {

struct ConfigSettings {
    int minor = 34;  // of Kubernetes 1.x
    std::string extender_url = "http://127.0.0.1:39999/scheduler";
    std::string kubeconfig = "/etc/kubernetes/scheduler.conf";  // "": in-cluster
    bool leader_elect = true;
    std::int64_t weight = 200;
    std::int64_t http_timeout_ms = 5000;
    bool node_cache_capable = true;
    bool whole_cards = true;   // manage nvidia.com/gpu, too
    bool cluster_dns = false;  // kube-scheduler's pod resolves Service names
    std::string tls_ca;        // paths as kube-scheduler sees them; "" without
    std::string tls_cert;
    std::string tls_key;
    std::string tls_server_name;
};

// A KubeSchedulerConfiguration (YAML, commented) in the API version that Kubernetes 1.`minor`
// prefers; from 1.19 on.
std::string render_configuration(const ConfigSettings& settings);
// A legacy Policy (JSON) for up to 1.22. It has no room for the kubeconfig, for leader election and
// for percentageOfNodesToScore.
std::string render_policy(const ConfigSettings& settings);

}  // namespace egpu::cli
