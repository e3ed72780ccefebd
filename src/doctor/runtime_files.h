// Docker's and CRI-O's configuration, and where the runtimes listen. Pure but for the file view.
#pragma once

#include <map>
#include <string>

#include "base/file_view.h"
#include "doctor/node_model.h"

namespace egpu::doctor {

inline constexpr const char* kDockerConfig = "/etc/docker/daemon.json";
inline constexpr const char* kDockerSocket = "/var/run/docker.sock";
inline constexpr const char* kCrioSocket = "/var/run/crio/crio.sock";

struct DockerConfig {
    bool exists = false;
    std::string error;  // not JSON, not readable; "" fine
    std::string default_runtime;
    std::map<std::string, std::string> runtimes;  // name to path
    std::string cgroup_driver;                    // of exec-opts; "" not set
};
DockerConfig read_docker_config(const FileView& files);

struct CrioConfig {
    std::string error_file;
    std::string error;
    std::string default_runtime = "runc";
    std::map<std::string, std::string> runtimes;  // name to runtime_path, "" looked up by name
    std::string cgroup_manager = "systemd";
};
// crio.conf and crio.conf.d, later files win.
CrioConfig read_crio_config(const FileView& files);

// The socket that containerd serves the kubelet on, and the unit that runs it.
std::string containerd_socket(const NodeModel& node);
std::string containerd_unit(const NodeModel& node);

// "systemd" or "cgroupfs" as the runtime of pods is configured; "" unknown.
std::string runtime_cgroup_driver(const Facts& facts, const NodeModel& node, bool cgroup_v2);

}  // namespace egpu::doctor
