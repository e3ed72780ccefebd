// The few fields of Kubernetes objects that edge-gpu reads, as plain values. Quantities stay text:
// core/request.h parses them. See codec.h for JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/request.h"

namespace egpu::k8s {

using StringMap = std::map<std::string, std::string>;

struct ObjectMeta {
    std::string name = {};
    std::string ns = {};  // "" for cluster-scoped objects
    std::string uid = {};
    std::string resource_version = {};  // opaque; only equality means something
    StringMap annotations = {};
    StringMap labels = {};
    std::string creation = {};  // RFC 3339, as received
    bool deleting = false;      // has a deletionTimestamp: still runs and still holds its share

    // "namespace/name", or "name" when cluster-scoped.
    std::string key() const { return ns.empty() ? name : ns + "/" + name; }
};

struct Pod {
    ObjectMeta meta = {};
    std::string node_name = {};  // "" while unassigned
    std::string phase = {};      // Pending, Running, Succeeded, Failed, Unknown, ""
    std::string scheduler_name = {};
    std::string static_hash = {};  // annotation kubernetes.io/config.hash: the UID the kubelet uses
                                   // for a static pod
    std::int64_t priority = 0;
    std::vector<core::ContainerSpec> containers = {};  // init containers and sidecars first
    core::HostAmounts host = {};  // CPU and memory it asks for, see host_request.h

    // Succeeded or Failed: only then (or when gone) is its share released.
    bool terminal() const { return phase == "Succeeded" || phase == "Failed"; }
};

struct Node {
    ObjectMeta meta = {};
    std::string percent_capacity = {};  // quantities of nano-gpu/gpu-percent, "" when absent
    std::string percent_allocatable = {};
    std::string whole_capacity = {};  // and of nvidia.com/gpu
    std::string whole_allocatable = {};
    std::string cpu_allocatable = {};
    std::string memory_allocatable = {};
    bool unschedulable = false;
    bool ready = false;  // condition Ready is True; shares are kept either way
};

}  // namespace egpu::k8s
