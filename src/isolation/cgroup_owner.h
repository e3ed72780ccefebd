// Which pod and container a process belongs to, from its /proc/PID/cgroup. Pure.
//
// Understands cgroup v1 and v2; the kubelet's cgroupfs and systemd drivers below any root; the
// forms of containerd, CRI-O, Docker and Podman; paths relative to the reader's own cgroup
// namespace. The outermost pod and container count: a container may make cgroups below its own, not
// above.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace egpu::isolation {

struct CgroupOwner {
    std::string pod_uid;       // the kubelet's: 8-4-4-4-12, or 32 digits of a static pod
    std::string container_id;  // 64 hex digits; "" for the pod's own cgroup

    bool operator==(const CgroupOwner&) const = default;
};

// nullopt: in no pod. `text`: the whole file.
std::optional<CgroupOwner> cgroup_owner(std::string_view text);

}  // namespace egpu::isolation
