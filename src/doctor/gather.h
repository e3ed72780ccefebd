// Gathers the facts about a node. Reads files below `root`; asks NVML, sockets, the API server and
// programs of the node, each with a deadline. Changes nothing.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/file_view.h"
#include "base/result.h"
#include "doctor/facts.h"

namespace egpu::doctor {

struct GatherOptions {
    std::string root = "/";
    std::string kubeconfig;  // "": of the pod, the agent, the kubelet, whichever is found first
    std::string node_name;   // "": $NODE_NAME, the agent's, the kubelet's, the host's name
    std::string nvml_library = "libnvidia-ml.so.1";
    std::string driver_root;  // "": the host, else a driver container's usual place
    bool ask_api = true;
    Duration nvml_limit = Seconds(20);
    Duration api_limit = Seconds(8);
    Duration program_limit = Seconds(5);
};

// `files` must outlive the facts and look at options.root.
Facts gather(const FileView& files, const GatherOptions& options);

// Its parts.
std::vector<Process> list_processes(const FileView& files);
KernelLog read_kernel_log(const std::string& root);
SocketFacts try_unix_socket(
    const std::string& root, const FileView& files, const std::string& path
);
SocketFacts try_tcp(const std::string& host, int port, Duration limit);
ApiFacts ask_api(const Facts& so_far, const FileView& files, const GatherOptions& options);

}  // namespace egpu::doctor
