// What the ledger tells about itself: for /status, the CLI and the tests. Plain copies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/card.h"
#include "core/placement.h"

namespace egpu::core {

// One container on one card.
struct HolderInfo {
    std::string uid;
    std::string ns;
    std::string pod;
    std::string container;
    int percent = 0;
    std::int64_t memory_mib = 0;  // what is accounted, 0 when the card's memory is unknown
    bool whole = false;
    bool reserved = false;  // a bind in flight
    bool guessed = false;   // the pod has no valid placement: the card is the ledger's guess

    bool operator==(const HolderInfo&) const = default;
};

struct CardInfo {
    Card card;
    int used_percent = 0;  // peaks of its pods; can be less than the sum of the holders' percents
    std::int64_t used_memory_mib = 0;
    bool whole = false;  // taken as a whole card
    std::vector<HolderInfo> holders;

    bool operator==(const CardInfo&) const = default;
};

// A pod whose cards are not known from its annotations.
struct UnplacedPod {
    std::string uid;
    std::string ns;
    std::string pod;
    std::string reason;       // "no placement", "card GPU-1 is not on this node", …
    int missing_percent = 0;  // what found no room on any card

    bool operator==(const UnplacedPod&) const = default;
};

struct NodeInfo {
    std::string name;
    bool known = false;      // false: pods are bound to it, the node itself has not been seen
    bool synthetic = false;  // cards made up from allocatable units
    std::int64_t percent_units = 0;
    std::int64_t whole_units = 0;
    std::vector<CardInfo> cards;
    std::vector<UnplacedPod> unplaced;

    bool operator==(const NodeInfo&) const = default;
};

struct ReservationInfo {
    std::string uid;
    std::string ns;
    std::string pod;
    std::string node;
    TimePoint expires;
};

struct PodInfo {
    std::string uid;
    std::string ns;
    std::string pod;
    std::string node;
    bool reserved = false;
    bool guessed = false;
    bool uses_percent = false;  // a container asks for nano-gpu/gpu-percent
    bool uses_whole = false;    // … for nvidia.com/gpu
    Placement placement;        // as accounted; empty when it fits nowhere
};

struct LedgerTotals {
    std::size_t nodes = 0;
    std::size_t cards = 0;
    std::size_t healthy_cards = 0;
    std::size_t empty_cards = 0;  // healthy and held by nobody
    std::size_t pods = 0;
    std::size_t reservations = 0;
    std::size_t unplaced_pods = 0;
    // Cards whose pods may use more memory than there is: only by caps changed after the binding or
    // forged placements, never by a plan of ours.
    std::size_t cards_over_memory = 0;
    std::int64_t used_percent = 0;
};

}  // namespace egpu::core
