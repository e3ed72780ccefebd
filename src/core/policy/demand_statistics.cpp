#include "core/policy/demand_statistics.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace egpu::core {

std::size_t ShapeHash::operator()(const Shape& shape) const {
    std::uint64_t state = (static_cast<std::uint64_t>(shape.cpu_milli) << 32) ^
                          static_cast<std::uint32_t>(shape.memory_mib);
    state = splitmix64(state) ^ shape.models;
    state ^= (static_cast<std::uint64_t>(shape.cards) << 56) ^
             (static_cast<std::uint64_t>(shape.percent) << 48);
    return splitmix64(state);
}

DemandStatistics::DemandStatistics(double half_life, std::size_t max_shapes)
    : growth_(half_life > 0 ? std::exp2(1 / half_life) : 1),
      max_shapes_(std::max<std::size_t>(max_shapes, 1)) {}

void DemandStatistics::arrived(const Shape& shape) {
    const auto [it, added] = index_.try_emplace(shape, counts_.size());
    if (added) {
        if (counts_.size() >= max_shapes_) {
            drop_rarest();
            it->second = counts_.size();
        }
        counts_.push_back({shape, 0});
    }
    counts_[it->second].weight += unit_;
    unit_ *= growth_;
    if (unit_ > 1e12) {  // only ratios count
        for (ShapeWeight& count : counts_) count.weight /= unit_;
        unit_ = 1;
    }
}

void DemandStatistics::drop_rarest() {
    const auto rarest =
        std::min_element(counts_.begin(), counts_.end(), [](const auto& a, const auto& b) {
            return a.weight < b.weight;
        });
    index_.erase(rarest->shape);
    if (rarest + 1 != counts_.end()) {
        *rarest = counts_.back();
        index_[rarest->shape] = static_cast<std::size_t>(rarest - counts_.begin());
    }
    counts_.pop_back();
}

std::vector<ShapeWeight> DemandStatistics::weights() const {
    return counts_;
}

}  // namespace egpu::core
