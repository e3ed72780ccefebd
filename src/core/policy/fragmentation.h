// FGD's measure: how much of a node's free GPU the pods that usually arrive cannot use.
// (Weng et al., "Beware of Fragmentation", USENIX ATC 2023.) Values and ties follow the published
// program: CPU and model count, memory does not; the rarest 5 % of pods are left out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/policy/demand_statistics.h"
#include "core/room.h"

namespace egpu::core {

class Fragmentation {
  public:
    // Of `demand` the most frequent shapes that make up `popularity` of all pods.
    explicit Fragmentation(std::span<const ShapeWeight> demand, double popularity = 0.95);

    // Expected unusable free GPU in thousandths of a card; at least 0.
    double amount(const Room& room) const;
    std::size_t typical_pods() const { return typical_.size(); }

  private:
    struct Typical {
        std::int32_t cpu_milli = 0;
        std::uint64_t models = 0;
        std::uint8_t cards = 0;
        std::uint8_t percent = 0;
        double frequency = 0;
    };
    std::vector<Typical> typical_;
};

// 0..100, truncated as in the published program: near steps tie, and ties go to the lowest node.
double fragmentation_score(double before, double after);

}  // namespace egpu::core
