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
    int futures = 32;
    int pods = 32;  // of each
    std::uint64_t seed = 0;
};

class Futures {
  public:
    // `models`: bit per ModelId that rooms have; others are slower.
    Futures(
        std::span<const ShapeWeight> demand, const FutureOptions& options, std::uint64_t models
    );

    // Mean GPU, in cards, that the room takes.
    double value(const Room& room) const;

  private:
    struct Pod {
        std::int32_t cpu_milli = 0;
        std::int32_t memory_mib = 0;
        std::uint8_t cards = 0;
        std::uint8_t percent = 0;
    };
    // The futures with only the pods that may run on one model.
    struct Sequence {
        std::vector<Pod> pods;
        std::vector<std::uint32_t> ends;  // of each future in `pods`
        int least_percent = 100;
        std::int32_t least_cpu = kUnlimited;  // of pods with cards
    };
    Sequence for_model(ModelId model) const;
    double value_in(const Sequence& sequence, const Room& room) const;

    std::vector<Shape> drawn_;  // all futures one after another
    int pods_per_future_;
    std::array<int, kMaxModels> by_model_;  // index into sequences_, -1: not prepared
    std::vector<Sequence> sequences_;
};

}  // namespace egpu::core
