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
    double weight = 0;  // share of all arrivals, 0..1
};

class DemandStatistics {
  public:
    // `half_life`: so many arrivals later one counts half; 0: never forgotten. `max_shapes`: the
    // rarest are dropped beyond it.
    explicit DemandStatistics(double half_life = 0, std::size_t max_shapes = 1024);

    // How many pods like this one have arrived. Returns the number of arrivals so far.
    void arrived(const Shape& shape, double times = 1);
    double total() const { return total_; }       // with forgetting: the effective number
    std::uint64_t arrivals() const { return arrivals_; }  // all that ever arrived
    std::size_t shapes() const { return counts_.size(); }
    // By first arrival, so that equal histories give equal lists.
    std::vector<ShapeWeight> weights() const;

  private:
    struct Count {
        Shape shape;
        double weight = 0;
    };
    void drop_rarest();

    double growth_ = 1;  // what an arrival counts more than the one before it
    std::size_t max_shapes_;
    double unit_ = 1;  // what an arrival counts now
    double total_weight_ = 0;
    double total_ = 0;
    std::uint64_t arrivals_ = 0;
    std::vector<Count> counts_;
    std::unordered_map<Shape, std::uint32_t, ShapeHash> index_;
};

}  // namespace egpu::core
