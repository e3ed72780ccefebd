// From "which container on which card" to "what of each card is held": the phases of a pod's life
// (see planner.h), peak per card.
#pragma once

#include <span>
#include <vector>

#include "core/demand.h"
#include "core/policy.h"

namespace egpu::core {

// The phases a container lives in: phase i is the i-th plain init container, the last phase is that
// of the app containers.
struct Life {
    int begin = 0;
    int end = 0;  // exclusive
};
std::vector<Life> lives_of(std::span<const Demand> demands);
int phase_count(std::span<const Demand> demands);

// Percent units the pod holds for its whole life, cards aside, as the kubelet counts them; a card
// through nvidia.com/gpu counts 100.
int total_units(std::span<const Demand> demands);

// Peaks by card position, for cards that are used at all. A card that one pod uses through both
// resources counts their sum, which passes 100. `choice` must have the shape of `demands` and its
// positions must lie in `cards`. Appends to `out` (cleared first).
void card_use(
    std::span<const CardView> cards,
    std::span<const Demand> demands,
    std::span<const int> choice,
    std::vector<CardUse>& out
);

// The node before and after, as Policy::node_score wants it.
NodeChange node_change(std::span<const CardView> cards, std::span<const CardUse> use);

}  // namespace egpu::core
