// Which pods would have to move so that k whole cards are free: advice only, nothing is changed.
// Pure.
//
// A plan is the fewest pods, of equal numbers the least GPU, that stand on the cards to be freed,
// together with a place for each of them that the planner has tried: models, memory caps, CPU and
// memory are respected; node selectors, affinity and taints are not known here. Each pod moves
// once, and none moves only to make room for another. On a node all sets of its cards are looked
// at (the 16 with the fewest pods when it has more); up to kExactNodes nodes every destination is
// tried, above that the best three for each pod. The work is bounded; a plan says whether the bound
// was met before a smaller set could be ruled out.
#pragma once

#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/cluster_use.h"
#include "core/relocation.h"

namespace egpu::core {

struct FreeCardsRequest {
    int cards = 1;
    bool anywhere = false;            // false: on one node, as one pod needs them
    std::vector<std::string> models;  // acceptable ones, as in PodRequest
};

struct FreeCardsPlan {
    bool possible = false;
    // Of the node with the most (or, anywhere, of all nodes): free before any move.
    int free_now = 0;
    int node = -1;               // position in the list of NodeUse; -1 anywhere
    std::vector<PodMove> moves;  // empty and possible: there are enough free cards already
    bool smallest = false;       // no smaller set of pods can do it
    std::string why_not;         // a sentence, when it is not possible
};

inline constexpr int kExactNodes = 16;

// Why the pod cannot be asked to move: "static pod", "DaemonSet"; "" when it can. A pod that is
// being deleted goes by itself.
std::string pinned_by(const ClusterPod& pod);

FreeCardsPlan plan_free_cards(
    const Cluster& cluster, const std::vector<NodeUse>& uses, const FreeCardsRequest& request
);

}  // namespace egpu::core
