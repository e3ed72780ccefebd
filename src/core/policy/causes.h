// Why free GPU cannot be used by the pods that usually arrive. Pure.
#pragma once

#include <span>

#include "core/policy/demand_statistics.h"
#include "core/room.h"

namespace egpu::core {

// Free GPU of a room in cards, split by what keeps the pods of the demand (those that ask for GPU,
// weighted by frequency) from it. The first that holds counts, in this order.
struct Causes {
    double model = 0;   // not the model the pod wants
    double shape = 0;   // too little is free on the card, or too few cards are whole
    double cpu = 0;     // the cards would do, the CPU left does not
    double memory = 0;  // nor the memory
    double usable = 0;

    double sum() const { return model + shape + cpu + memory + usable; }
    Causes& operator+=(const Causes& other);
    Causes operator*(double factor) const;
};

Causes causes_of(const Room& room, std::span<const ShapeWeight> demand);

}  // namespace egpu::core
