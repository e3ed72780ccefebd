// Cards and nodes as the planner sees them. Pure data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace egpu::core {

// Percent units of one card: the whole of its compute and memory.
inline constexpr int kCardUnits = 100;
inline constexpr int kMaxNodeCards = 1024;  // a node that claims more is wrong or hostile
// NVML indexes are small; those of MIG instances are not (gpu::mig_index).
inline constexpr int kMaxCardIndex = 1'000'000;

// How close two cards of a node are (core/topology.h); 0 when unknown.
using Link = std::uint8_t;
inline constexpr int kLinkedCards = 64;  // links are kept of cards with an index below

// One physical GPU, or one MIG instance where MIG is on.
struct Card {
    std::string uuid;  // "GPU-…" or "MIG-…"; "" when only the index is known (nano-gpu's nodes)
    int index = 0;     // NVML index on its node
    std::string model;            // NVML product name, for example "Tesla T4"; "" when unknown
    std::int64_t memory_mib = 0;  // 0 when unknown: memory is then not accounted
    int numa = -1;                // NUMA node, -1 when unknown
    bool healthy = true;
    // How many devices of nvidia.com/gpu its node offers for it (NVIDIA's time-slicing replicas,
    // the same for all cards of a node). Above 1 such a device is a share of 100 / replicas
    // percent.
    int replicas = 1;
    // To the card with that index on its node; what lies beyond the end is unknown.
    std::vector<Link> links = {};

    bool operator==(const Card&) const = default;
};

}  // namespace egpu::core
