// What is held of each node of a Cluster, by the ledger's rules: pods without a placement that can
// be believed are accounted best-fit.
#pragma once

#include <vector>

#include "core/cluster.h"
#include "core/demand.h"
#include "core/planner.h"

namespace egpu::core {

struct HeldPod {
    int pod = 0;                // position in Cluster::pods
    std::vector<CardUse> uses;  // empty: nobody knows where
};

struct NodeUse {
    int node = 0;                  // position in Cluster::nodes
    std::vector<CardState> cards;  // made up from allocatable units where none are published
    HostAmounts host_free;         // kHostUnlimited where unknown; may be below 0
    std::vector<HeldPod> pods;     // those with cards
};

// In the order of Cluster::nodes; of nodes of the same name the first counts.
std::vector<NodeUse> cluster_use(const Cluster& cluster);

}  // namespace egpu::core
