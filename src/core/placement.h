// Where the containers of one pod go: the planner's answer, the ledger's entry, the annotation's
// content.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace egpu::core {

// One card (or part of it) given to one container.
struct CardShare {
    std::string uuid;  // "" when only the index is known (annotations of nano-gpu)
    int index = 0;
    int percent = 0;  // 1..100
    std::int64_t memory_mib =
        0;  // explicit memory cap (annotation edge-gpu.io/memory); 0: follows the percent

    bool operator==(const CardShare&) const = default;
};

struct ContainerPlacement {
    std::string container;
    std::vector<CardShare> cards;  // one for a share, N for N whole cards

    bool operator==(const ContainerPlacement&) const = default;
};

// Containers that ask for no GPU do not appear. Order: as in the pod's request (init containers
// first).
struct Placement {
    std::vector<ContainerPlacement> containers;

    bool operator==(const Placement&) const = default;
};

}  // namespace egpu::core
