// What is scarce: for each shape of pod how much room for it the cluster has left, and what a node
// is worth at the prices that follow.
//
// A node's capacity for a shape, in cards, is how many copies it could take (by cards, CPU and
// memory; fractions of the latter two count) times the GPU of one. Little capacity in the cluster
// for what is asked often makes every unit of it dear: the price of a shape is its frequency times
// (cards installed / capacity)^2, scaled by the share of cards still free.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/policy/demand_statistics.h"
#include "core/room.h"

namespace egpu::core {

struct RoomCount {
    Room room;
    std::uint32_t nodes = 1;  // that have this room
};

struct ScarcityOptions {
    double weight = 0.05;  // of the whole term against expected fill
    double exponent = 2;
    double cpu_only = 1;  // what pods without a card count beside those with one
};

class Scarcity {
  public:
    Scarcity(
        std::span<const ShapeWeight> demand,
        std::span<const RoomCount> rooms,
        const ScarcityOptions& options = {}
    );

    // The room's capacities at today's prices.
    double value(const Room& room) const;

    // For tests: the room's capacity for a shape, in cards.
    static double capacity(const Room& room, const Shape& shape);

  private:
    // Four at a time. The order of additions is fixed: equal on every machine.
    static constexpr std::size_t kLanes = 4;
    // Shapes that differ in CPU and memory only.
    struct Group {
        std::uint64_t models = 0;
        std::uint8_t cards = 0;
        std::uint8_t percent = 0;
        std::size_t begin = 0;  // in the arrays below; a multiple of kLanes
        std::size_t end = 0;
        std::array<std::uint8_t, 101> copies{};  // on a card, by its free percent
    };
    static Group group_of(const Shape& shape);
    static int copies_on_cards(const Room& room, const Group& group, int most_free, int empty);
    void add_capacities(const Room& room, double nodes, std::vector<double>& sums) const;

    std::vector<Group> groups_;
    std::vector<float> per_cpu_;  // 1 / CPU of the shape
    std::vector<float> per_memory_;
    std::vector<float> price_;  // 0 in the padding
};

}  // namespace egpu::core
