// How often each shape of pod arrives: learned one pod at a time, forgotten at a chosen pace.
// Deterministic; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/room.h"

namespace egpu::core {

struct ShapeHash {
    std::size_t operator()(const Shape& shape) const;
};

struct ShapeWeight {
    Shape shape;
    double weight = 0;  // relative: a count will do
};

class DemandStatistics {
  public:
    // `half_life`: so many arrivals later one counts half; 0: nothing is forgotten. Of more than
    // `max_shapes` the rarest is dropped for each new one.
    explicit DemandStatistics(double half_life = 0, std::size_t max_shapes = 1024);

    void arrived(const Shape& shape);
    std::size_t shapes() const { return counts_.size(); }
    // Equal histories give equal lists. Without forgetting, counts.
    std::vector<ShapeWeight> weights() const;

  private:
    void drop_rarest();

    double growth_;  // by this much an arrival counts more than the one before it
    std::size_t max_shapes_;
    double unit_ = 1;                  // what the next arrival counts
    std::vector<ShapeWeight> counts_;  // weight: not yet divided by their sum
    std::unordered_map<Shape, std::size_t, ShapeHash> index_;
};

}  // namespace egpu::core
