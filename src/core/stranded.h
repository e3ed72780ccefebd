// How much free GPU nobody can use, and why. Pure.
//
// "Nobody" is a pod of the kind that the cluster's pods are, those that wait included: for each
// kind (cards, percent, models, CPU, memory) every card's free part either can take such a pod or
// is stranded for one cause; kinds count as often as they occur. So the parts of a card are
// expected values and add up to what is free. Like FGD's measure, and by cause.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "core/cluster_use.h"

namespace egpu::core {

// In the order in which they are looked for.
enum class Stranding {
    kNodeClosed,     // the node is not ready, or cordoned
    kUnhealthy,      // the card
    kModel,          // of no model that is asked for
    kNoCpu,          // the node has too little CPU left
    kNoMemory,       // or memory
    kOtherResource,  // shares are on the card, nvidia.com/gpu is asked for
    kFragment,       // the part that is free is too small
    kTooFewCards,    // the node has too few free cards
};
inline constexpr int kStrandings = 8;
std::string_view stranding_name(Stranding cause);  // "no-cpu"
std::string_view stranding_text(Stranding cause);  // "no CPU left on the node"

// In cards. free = usable + the sum of `stranded`.
struct CardTotals {
    int cards = 0;
    double used = 0;
    double free = 0;
    double usable = 0;
    std::array<double, kStrandings> stranded{};

    void add(const CardTotals& other);
    double stranded_total() const { return free - usable; }
};

struct ModelTotals {
    std::string model;  // "" when unknown
    CardTotals totals;
};
struct NodeTotals {
    int node = 0;  // position in Cluster::nodes
    CardTotals totals;
};

struct StrandedReport {
    CardTotals all;
    std::vector<ModelTotals> models;  // by name
    std::vector<NodeTotals> nodes;    // as given, those without a card left out
    int pods_seen = 0;                // that ask for GPU; none: everything on open nodes is usable
    int kinds_seen = 0;
};

StrandedReport find_stranded(const Cluster& cluster, std::span<const NodeUse> uses);

}  // namespace egpu::core
