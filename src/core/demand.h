// What the planner and the ledger compute with: a request and a node's cards without strings.
#pragma once

#include <cstdint>
#include <vector>

#include "core/card.h"
#include "core/request.h"

namespace egpu::core {

// One container's demand, in spec order. The compact form of a ContainerRequest.
struct Demand {
    std::int64_t memory_mib = 0;  // explicit cap per card; 0: follows the percent
    std::uint32_t name = 0;       // for the ledger: the container's name in its string pool
    std::uint16_t cards = 1;
    std::uint8_t percent = 0;  // per card; 100 with whole
    ContainerKind kind = ContainerKind::kApp;
    bool whole = false;
    bool nvidia = false;   // cards through nvidia.com/gpu: a pool of device IDs of its own
    bool replica = false;  // asked through nvidia.com/gpu, on a node where that is a share

    int units() const { return percent * cards; }  // percent units, also for nvidia.com/gpu
    bool operator==(const Demand&) const = default;
};

std::vector<Demand> demands_of(const PodRequest& request);
// As a node takes them whose cards have `replicas` devices of nvidia.com/gpu each (Card::replicas):
// with 1 such a device is a whole card, else a share of 100 / replicas percent, several of one
// container on different cards. May be called again with another number.
void adapt_to_replicas(std::vector<Demand>& demands, int replicas);

// A card as far as one pod is concerned.
struct CardView {
    int index = 0;  // NVML index, for tie-breaks
    int free_percent = 0;
    bool empty = false;  // held by nobody
    bool healthy = false;
    bool usable = false;          // healthy and of an acceptable model
    std::int64_t memory_mib = 0;  // 0: unknown
    std::int64_t free_memory_mib = 0;
    const Link* links = nullptr;  // to each card of the list, by position; nullptr: all alike
};

// What a pod holds of one card for its whole life: the peak over its phases.
struct CardUse {
    int card = 0;  // position in the list of cards
    int percent = 0;
    std::int64_t memory_mib = 0;
    bool whole = false;

    bool operator==(const CardUse&) const = default;
};

// Positions in the list of cards: demands[0].cards of them for the first container, and so on.
using CardChoice = std::vector<int>;

// Memory that `demand` holds on one card of this size; 0 when the size is unknown and no cap given.
std::int64_t memory_on(const Demand& demand, std::int64_t card_memory_mib);

}  // namespace egpu::core
