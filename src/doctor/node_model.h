// What several checks need to know of a node, worked out once from the facts. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "doctor/containerd_config.h"
#include "doctor/facts.h"

namespace egpu::doctor {

struct PciGpu {
    std::string address;  // "0000:3b:00.0"
    std::string device;   // "10de:1eb8"
    std::string driver;   // "nvidia", "nouveau", "vfio-pci", "" for none
    bool nvswitch = false;
};

// "major.minor.patch" of "v1.29.3", "containerd containerd.io 1.7.2 abc", …: the first number with
// a dot in it.
struct Version {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;

    auto operator<=>(const Version&) const = default;
};
std::optional<Version> first_version(std::string_view text);

// The value of a Go-style flag (--name=value, --name value, -name …); nullopt when absent. A flag
// without value is "".
std::optional<std::string> flag_value(const Process& process, std::string_view name);

enum class RuntimeKind { kNone, kContainerd, kDocker, kCrio };

struct Kubelet {
    const Process* process = nullptr;  // null: not running
    bool expected = false;             // this machine is set up as a Kubernetes node
    std::string distribution;          // "", "k3s", "rke2", "microk8s", "kubeedge"
    std::string root_dir = "/var/lib/kubelet";
    std::string config_path;  // "" none
    std::string config_error;
    json::value config;            // KubeletConfiguration; null when there is none
    std::string runtime_endpoint;  // path of the socket, "" unknown
    std::string kubeconfig;
    std::string cgroup_driver;  // "systemd", "cgroupfs"; "" when the kubelet asks the runtime
    std::optional<Version> version;
};

struct Agent {
    const Process* process = nullptr;
    std::string injection = "auto";
    std::string kubeconfig;
};

struct NodeModel {
    std::string name;
    std::vector<PciGpu> gpus;  // without NVSwitches
    int nvswitches = 0;
    bool tegra = false;             // an integrated GPU: not on PCI
    bool wsl = false;               // /dev/dxg: the driver is Windows'
    std::string kernel;             // release, "5.4.0-100-generic"
    std::string loaded_version;     // of the running kernel module; "" when not loaded
    std::string driver_root = "/";  // the host, or a driver container's files
    Kubelet kubelet;
    Agent agent;
    RuntimeKind runtime = RuntimeKind::kNone;  // what the kubelet uses, else what runs
    ContainerdConfig containerd;
    std::optional<Version> containerd_version;

    bool has_gpu() const { return !gpus.empty() || tegra || wsl; }
    bool module_loaded(std::string_view name) const;
    std::vector<std::string> modules;
};

NodeModel read_node(const Facts& facts);

// The running process whose program is called `name`; null when there is none.
const Process* find_process(const Facts& facts, std::string_view name);

// Where an executable lies below the root, in the usual folders; an absolute name is checked only.
std::optional<std::string> find_program(const FileView& files, std::string_view name);

// The version that a driver library's file name carries ("450.102.04"), "?" when it carries none,
// "" when there is no such library below the driver root.
std::string library_version(
    const FileView& files, const std::string& driver_root, std::string_view soname
);

}  // namespace egpu::doctor
