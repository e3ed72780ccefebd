#include "simulate/machine_room.h"

#include <numeric>
#include <unordered_map>

#include "base/check.h"
#include "base/random.h"

namespace egpu::simulate {
namespace {

// Another stream than the arrivals of the same seed.
constexpr std::uint64_t kNodeOrder = 0x6E6F646573;

}  // namespace

MachineRoom::MachineRoom(
    const Cluster& cluster, const core::Scorer& scorer, const core::FleetOptions& options
)
    : fleet_(scorer, options),
      nodes_(cluster.nodes.size()),
      cards_(cluster.cards()),
      kinds_(cluster.nodes.size()) {
    std::vector<std::uint32_t> order(nodes_);
    std::iota(order.begin(), order.end(), 0U);
    Random random(options.seed ^ kNodeOrder);
    shuffle(order, random);
    for (std::size_t i = 0; i < nodes_; ++i) {
        fleet_.set_room(static_cast<core::FleetNode>(i), cluster.nodes[order[i]].room);
    }
}

std::optional<Held> MachineRoom::place(const core::Shape& shape, std::uint64_t pod_key) {
    auto pick = fleet_.place(shape, pod_key);
    if (!pick) return std::nullopt;
    const core::Room before = *fleet_.room(pick->node);
    core::Room& after = pick->choice.after;
    Held held{pick->node, shape, 0};
    int taken = 0;
    for (int card = 0; card < before.cards; ++card) {
        // A policy that took more than there is, or less than was asked for, would win every table.
        EG_CHECK(after.free[card] <= before.free[card]);
        if (before.free[card] == after.free[card]) continue;
        EG_CHECK(before.free[card] - after.free[card] == shape.percent);
        held.cards |= static_cast<std::uint16_t>(1U << card);
        ++taken;
    }
    EG_CHECK(taken == shape.cards && core::fits(before, shape));
    ++kinds_[held.node][static_cast<std::size_t>(core::kind_of(shape))];
    set_kinds(after, held.node);
    allocated_ += std::int64_t{shape.cards} * shape.percent;
    fleet_.set_room(held.node, after);
    return held;
}

void MachineRoom::release(const Held& held) {
    core::Room room = *fleet_.room(held.node);
    if (room.cpu_milli != core::kUnlimited) room.cpu_milli += held.shape.cpu_milli;
    if (room.memory_mib != core::kUnlimited) room.memory_mib += held.shape.memory_mib;
    for (int card = 0; card < room.cards; ++card) {
        if (((held.cards >> card) & 1U) == 0) continue;
        room.free[card] = static_cast<std::uint8_t>(room.free[card] + held.shape.percent);
        EG_CHECK(room.free[card] <= 100);
    }
    --kinds_[held.node][static_cast<std::size_t>(core::kind_of(held.shape))];
    set_kinds(room, held.node);
    allocated_ -= std::int64_t{held.shape.cards} * held.shape.percent;
    fleet_.set_room(held.node, room);
}

void MachineRoom::set_kinds(core::Room& room, core::FleetNode node) const {
    room.kinds = 0;
    for (int kind = 0; kind < kKinds; ++kind) {
        if (kinds_[node][static_cast<std::size_t>(kind)] > 0) {
            room.kinds |= static_cast<std::uint8_t>(1U << kind);
        }
    }
}

core::Causes MachineRoom::free_by_cause(const std::vector<core::ShapeWeight>& demand) const {
    // Counted by like rooms: many nodes are equal. Added up in order of nodes, so that the sum is
    // the same in every run.
    std::unordered_map<std::uint64_t, std::vector<std::pair<core::Room, core::Causes>>> seen;
    core::Causes sum;
    for (std::size_t i = 0; i < nodes_; ++i) {
        core::Room room = core::sorted_room(*fleet_.room(static_cast<core::FleetNode>(i)));
        room.kinds = 0;
        const std::uint64_t key = (static_cast<std::uint64_t>(room.cpu_milli) << 32) ^
                                  static_cast<std::uint32_t>(room.memory_mib);
        auto& alike = seen[key];
        const core::Causes* found = nullptr;
        for (const auto& [known, causes] : alike) {
            if (known == room) found = &causes;
        }
        if (found == nullptr) {
            alike.emplace_back(room, core::causes_of(room, demand));
            found = &alike.back().second;
        }
        sum += *found;
    }
    return sum * (100.0 / cards_);
}

}  // namespace egpu::simulate
