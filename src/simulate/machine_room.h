// The simulated cluster: the policy's fleet and what every pod holds.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/policy/causes.h"
#include "core/policy/fleet.h"
#include "simulate/trace.h"

namespace egpu::simulate {

// What a placed pod holds.
struct Held {
    core::FleetNode node = 0;
    core::Shape shape;
    std::uint16_t cards = 0;  // bit per card
};

class MachineRoom {
  public:
    // Nodes are numbered in an order that `options.seed` shuffles: policies give ties to the lowest
    // number, and where they are many (coarse scores, pods without a card) an order by name packs
    // such pods onto the same nodes in every run.
    MachineRoom(
        const Cluster& cluster, const core::Scorer& scorer, const core::FleetOptions& options
    );

    core::Fleet& fleet() { return fleet_; }
    // The policy's choice, taken; nullopt when the pod fits nowhere.
    std::optional<Held> place(const core::Shape& shape, std::uint64_t pod_key);
    void release(const Held& held);

    int cards() const { return cards_; }  // installed
    double allocated_pct() const { return static_cast<double>(allocated_) / cards_; }
    double allocated_cards() const { return static_cast<double>(allocated_) / 100.0; }
    // In percent of GPU installed.
    core::Causes free_by_cause(const std::vector<core::ShapeWeight>& demand) const;

  private:
    static constexpr int kKinds = 7;
    void set_kinds(core::Room& room, core::FleetNode node) const;

    core::Fleet fleet_;
    std::size_t nodes_;
    int cards_ = 0;
    std::int64_t allocated_ = 0;                            // percent, summed
    std::vector<std::array<std::uint16_t, kKinds>> kinds_;  // pods of each kind, by node
};

}  // namespace egpu::simulate
