// What goes over the kubelet's device plugin and pod-resources APIs, as plain C++: no gRPC and no
// protobuf in headers.
//
// Contract: k8s.io/kubelet deviceplugin/v1beta1, podresources/v1 and v1alpha1, all from 1.10 to
// 1.36.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace egpu::kubelet {

// One allocatable unit of a resource.
struct Device {
    std::string id{};     // up to 63 characters by the API's comment
    bool healthy = true;  // "Healthy" or "Unhealthy"
    std::optional<int> numa =
        std::nullopt;  // NUMA node; none: the resource takes no part in topology hints

    bool operator==(const Device&) const = default;
};

struct Mount {
    std::string container_path{};
    std::string host_path{};
    bool read_only = false;

    bool operator==(const Mount&) const = default;
};

struct DeviceNode {
    std::string container_path{};
    std::string host_path{};
    std::string permissions = "rw";  // a subset of "rwm"

    bool operator==(const DeviceNode&) const = default;
};

// What one container is given. The kubelet keeps it in its checkpoint and replays it at every start
// of the container for the container's whole life: everything it names has to stay valid.
struct AllocateResponse {
    std::map<std::string, std::string> envs{};
    std::vector<Mount> mounts{};
    std::vector<DeviceNode> devices{};
    std::map<std::string, std::string> annotations{};  // of the CRI container, not of the pod
    std::vector<std::string> cdi_names{};              // "vendor.com/class=device"; kubelet 1.28+

    bool operator==(const AllocateResponse&) const = default;
};

// One container in pod-resources. Plain init containers are never listed.
struct ContainerResources {
    std::string name{};
    std::map<std::string, std::vector<std::string>> devices{};  // by resource; IDs sorted

    bool operator==(const ContainerResources&) const = default;
};

// One pod in pod-resources: there is no UID. A pod under admission is listed, with no devices yet.
struct PodResources {
    std::string ns{};
    std::string name{};
    std::vector<ContainerResources> containers{};

    bool operator==(const PodResources&) const = default;
};

}  // namespace egpu::kubelet
