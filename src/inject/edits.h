// What one container is given: the neutral form of a device plugin's ContainerAllocateResponse.
// Pure data.
//
// The kubelet replays it from its checkpoint for the container's whole life: everything it names
// must stay valid across agent restarts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::inject {

// Annotation (of the CRI container, not of the pod) that names the cards given, a comma list of
// UUIDs, where nothing else in the answer does.
inline constexpr std::string_view kAnnotationGiven = "edge-gpu.io/given";

struct Mount {
    std::string host;
    std::string container;
    bool read_only = true;

    bool operator==(const Mount&) const = default;
};

struct DeviceNode {
    std::string host;
    std::string container;
    std::string permissions = "rw";

    bool operator==(const DeviceNode&) const = default;
};

struct ContainerEdits {
    std::map<std::string, std::string> envs;
    std::vector<Mount> mounts;
    std::vector<DeviceNode> devices;
    std::map<std::string, std::string> annotations;
    std::vector<std::string> cdi_devices;

    bool operator==(const ContainerEdits&) const = default;
};

}  // namespace egpu::inject
