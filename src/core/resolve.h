// Between placements as they are written (UUIDs, indexes) and cards of a node record. Internal to
// the ledger. Placements are untrusted.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/demand.h"
#include "core/ledger_node.h"
#include "core/placement.h"
#include "core/request.h"
#include "core/string_pool.h"

namespace egpu::core {

// Far above any card; keeps sums of many of them inside 64 bits.
inline constexpr std::int64_t kMaxMemoryMib = std::int64_t{1} << 40;

enum class ResolveProblem {
    kNone,
    kNoPlacement,
    kContainerMissing,
    kWrongCount,
    kNoCard,
    kCardTwice
};

struct Resolution {
    ResolveProblem problem = ResolveProblem::kNone;
    std::size_t container = 0;         // where the problem is
    const PlacedCard* card = nullptr;  // and which card, with kNoCard
};

// The record's cards on the node, in the order of its demands. `choice` is complete on kNone only.
Resolution resolve(std::span<const CardRecord> cards, const PodRecord& record, CardChoice& choice);

Placement placement_from_choice(
    std::span<const CardRecord> cards,
    const PodRequest& request,
    std::span<const Demand> demands,  // of the request, as the node takes them
    const CardChoice& choice,
    const StringPool& strings
);

// The cards with what `usage` leaves of them; all healthy cards are usable, or all cards. `links`:
// link_matrix() of the cards, outlives the views.
void fill_views(
    std::span<const CardRecord> cards,
    std::span<const CardUsage> usage,
    bool unhealthy_too,
    std::vector<CardView>& views,
    std::span<const Link> links = {}
);

}  // namespace egpu::core
