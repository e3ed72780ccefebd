#include "device_plugin_v1beta1.pb.h"
#include "kubelet/checkpoint.h"

namespace egpu::kubelet {

Result<AllocateResponse> decode_allocate_response(std::string_view bytes) {
    v1beta1::ContainerAllocateResponse message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error{ErrorCode::kCorrupt, "AllocResp is not a ContainerAllocateResponse"};
    }
    AllocateResponse out;
    for (const auto& [key, value] : message.envs()) out.envs.emplace(key, value);
    for (const auto& mount : message.mounts()) {
        out.mounts.push_back({mount.container_path(), mount.host_path(), mount.read_only()});
    }
    for (const auto& node : message.devices()) {
        out.devices.push_back({node.container_path(), node.host_path(), node.permissions()});
    }
    for (const auto& [key, value] : message.annotations()) out.annotations.emplace(key, value);
    for (const auto& device : message.cdi_devices()) out.cdi_names.push_back(device.name());
    return out;
}

}  // namespace egpu::kubelet
