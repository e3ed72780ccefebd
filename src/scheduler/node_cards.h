// Which cards a Node has, from its object. Pure.
//
// The annotation edge-gpu.io/cards (published by our agent) wins when it is valid. Otherwise cards
// are made up from the allocatable amounts of nano-gpu/gpu-percent (100 a card) and nvidia.com/gpu,
// or from capacity where allocatable does not name the resource. A kubelet that was restarted
// reports 0 until the device plugins are back: with the annotation the cards stay known (the
// kubelet's sums keep new pods away by themselves); without it there are no cards for that time, so
// nothing new is placed, and what is bound stays accounted for and finds its cards again.
#pragma once

#include <string>

#include "core/ledger.h"
#include "k8s/objects.h"

namespace egpu::scheduler {

struct NodeCards {
    core::NodeInventory inventory;
    std::string problem;  // not "": the annotation is not believed, and why

    bool empty() const {
        return inventory.cards.empty() && inventory.percent_units == 0 &&
               inventory.whole_units == 0;
    }
};

NodeCards read_node_cards(const k8s::Node& node);

}  // namespace egpu::scheduler
