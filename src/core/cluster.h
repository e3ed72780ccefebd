// A whole cluster at one moment, as a person would look at it. Plain data: what `edge-gpu snapshot`
// writes, what the advice in stranded.h and defragment.h is computed from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ledger.h"
#include "core/placement.h"
#include "core/request.h"

namespace egpu::core {

struct ClusterNode {
    std::string name;
    bool ready = true;
    bool schedulable = true;  // not cordoned
    NodeInventory inventory;

    // Takes new pods.
    bool open() const { return ready && schedulable; }
    bool operator==(const ClusterNode&) const = default;
};

// A pod that is not terminal.
struct ClusterPod {
    PodIdentity id;
    std::string node;     // "" while pending
    std::string phase;    // Kubernetes': Pending, Running, Unknown
    std::string created;  // RFC 3339, as the API server wrote it
    bool deleting = false;
    std::int64_t priority = 0;
    std::string
        owner;  // kind of what makes it again: "ReplicaSet", "DaemonSet", "Node" (static); ""
    PodRequest request;
    std::optional<Placement> placement;

    bool operator==(const ClusterPod&) const = default;
};

struct Cluster {
    std::vector<ClusterNode> nodes;
    std::vector<ClusterPod> pods;

    bool operator==(const Cluster&) const = default;
};

}  // namespace egpu::core
