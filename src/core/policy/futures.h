// Expected fill: how much GPU a node would still take from the pods to come.
//
// A few dozen imagined futures, each a sequence of pods drawn from the demand, are offered to the
// node in order; what it takes of them (best-fit card, CPU, memory and model respected) is its
// value. Seeing sequences, it knows what pairs up (47 + 47 percent of a card), what leaves a rest
// that nothing fills (81), and when CPU runs out before the cards do.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/policy/demand_statistics.h"
#include "core/room.h"

namespace egpu::core {

struct FutureOptions {
    int futures = 24;
    int pods = 40;          // of each; at most 64
    double cpu_only = 0.3;  // pods without a card are drawn so many times as often as they arrive
    std::uint64_t seed = 0;
};

class Futures {
  public:
    Futures(std::span<const ShapeWeight> demand, const FutureOptions& options);

    // Mean GPU, in cards, that the room takes.
    double value(const Room& room) const;

  private:
    struct Pod {
        std::int32_t cpu_milli = 0;
        std::int32_t memory_mib = 0;
        std::uint8_t cards = 0;
        std::uint8_t percent = 0;
    };
    // The pods of one future that are of some kind, a bit for each.
    using Set = std::uint64_t;
    static constexpr int kMostPods = 64;

    struct Limits {  // of the pods with cards that a model may run
        int least_percent = 100;
        std::int32_t least_cpu = kUnlimited;
    };
    // What one future finds out about a room.
    struct Cards;
    int taken_by(
        std::size_t future, Set allowed, const Limits& limits, Cards cards, const Room& room
    ) const;

    std::size_t futures_ = 0;
    std::vector<Pod> pods_;      // kMostPods per future
    std::vector<Set> cpu_only_;  // by future
    std::vector<Set> shares_;    // by largest percent (0..99) and future: asking for at most that
    std::vector<Set> wholes_;    // by number of cards (0..16) and future: likewise
    std::vector<Set> allowed_;   // by model and future
    std::array<Limits, kMaxModels> limits_;
};

}  // namespace egpu::core
