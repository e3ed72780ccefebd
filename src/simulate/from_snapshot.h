// A snapshot of a live cluster (k8s/cluster_snapshot.h) where a trace is expected. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "k8s/cluster_snapshot.h"
#include "simulate/trace.h"

namespace egpu::simulate {

// By its first character: CSV has no brace there.
bool looks_like_snapshot(std::string_view text);

// Nodes with all that they have, as if empty. Left out, each with a note: nodes that are not ready
// or cordoned, unhealthy cards, and of a node's cards those that are not of its most frequent
// model. kInvalid for a node with more than 16 cards, and when no card is left.
Result<Cluster> cluster_of(
    const std::string& file, const k8s::ClusterSnapshot& snapshot, std::vector<std::string>& notes
);

// All pods, bound or waiting. Several containers count as one: their whole cards together, else
// their shares on one card where they fit on one, else the largest share on as many cards.
// `created` is in seconds since 1970; nobody knows when a pod that runs will end.
Result<Workload> workload_of(
    const std::string& file,
    const k8s::ClusterSnapshot& snapshot,
    const Cluster& cluster,
    std::vector<std::string>& notes
);

}  // namespace egpu::simulate
