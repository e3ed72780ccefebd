// The decisions the planner's search takes for a request, in the order it takes them. Internal to
// card_search.
#pragma once

#include <span>
#include <vector>

#include "core/demand.h"

namespace egpu::core {

// Containers placed by one decision: one container, or a chain that must share one card.
struct Item {
    std::vector<int> members;  // positions in the demands, in spec order
    int cards = 1;
    int peak = 0;        // percent on a card, highest phase
    bool whole = false;  // some member needs the whole card
    bool nvidia = false;
    bool pooled = false;  // draws from or feeds the percent pool, and that spans several cards
    bool free = false;    // touches no pool (any more): may go anywhere
};

// First the containers of pools that span cards, in spec order, then those of nvidia.com/gpu, then
// the free ones: whole cards before shares, large before small.
std::vector<Item> items_of(std::span<const Demand> demands);

}  // namespace egpu::core
