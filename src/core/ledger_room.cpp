// The ledger's nodes as policies over rooms see them.
#include <algorithm>

#include "core/card.h"
#include "core/card_use.h"
#include "core/ledger.h"

namespace egpu::core {
namespace {

ShapeKind kind_of_pod(const PodRecord& pod) {
    Shape shape;
    const int units = total_units(pod.demands);
    shape.cards = static_cast<std::uint8_t>(std::min(255, (units + 99) / kCardUnits));
    shape.percent = static_cast<std::uint8_t>(units >= kCardUnits ? kCardUnits : units);
    return kind_of(shape);
}

}  // namespace

std::optional<Room> Ledger::room(NodeId id) const {
    const NodeRecord& node = nodes_[id];
    if (!node.known || node.cards.empty() || node.cards.size() > kRoomCards) return std::nullopt;
    Room room;
    room.cards = static_cast<std::uint8_t>(node.cards.size());
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        if (!node.cards[i].healthy) continue;
        room.free[i] = static_cast<std::uint8_t>(kCardUnits - node.usage.cards[i].percent);
    }
    for (const PodSlot slot : node.pods) {
        room.kinds |=
            static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind_of_pod(pods_[slot])));
    }
    return room;
}

std::string_view Ledger::card_model(NodeId id) const {
    const NodeRecord& node = nodes_[id];
    return node.cards.empty() ? std::string_view() : strings_.text(node.cards.front().model);
}

int Ledger::card_index(NodeId id, int position) const {
    return nodes_[id].cards[static_cast<std::size_t>(position)].index;
}

bool Ledger::asks_for_one(const Query& query) {
    return query.quick_ && query.one_;
}

bool Ledger::room_tells_all(NodeId id, const Query& query) const {
    return summaries_[id].quick && id != query.own_node_;
}

std::optional<Room> Ledger::room_after(NodeId id, Query& query, const Room& before) const {
    const NodeRecord& node = nodes_[id];
    Room after = before;
    const auto take = [](std::int32_t left, std::int64_t amount) {
        if (left == kUnlimited) return left;
        return static_cast<std::int32_t>(std::max<std::int64_t>(left - amount, 0));
    };
    after.cpu_milli = take(after.cpu_milli, query.request().host.cpu_milli);
    after.memory_mib = take(after.memory_mib, query.request().host.memory_mib);
    const NodeSummary& summary = summaries_[id];
    NodeChange change;
    if (query.quick_ && room_tells_all(id, query) && acceptable(query, summary.model) &&
        !query.one_ && query.quick_plan(summary, change, &after.free)) {
        return after;
    }
    const bool own = id == query.own_node_;
    const Verdict verdict = own ? plan_on(node, compute_usage(node, {&query.own_pod_, 1}), query)
                                : plan_on(node, node.usage, query);
    if (!verdict.fits || query.demands().empty()) return std::nullopt;
    const std::vector<Demand>& demands = query.search_on(node.replicas).demands();
    card_use(query.views_, demands, query.choice_, query.use_);
    for (const CardUse& use : query.use_) {
        std::uint8_t& free = after.free[static_cast<std::size_t>(use.card)];
        free = static_cast<std::uint8_t>(std::max(0, free - use.percent));
    }
    return after;
}

}  // namespace egpu::core
