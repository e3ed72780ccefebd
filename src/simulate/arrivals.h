// The order in which a workload's pods arrive. Pure; a seed gives the same order everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "simulate/trace.h"

namespace egpu::simulate {

enum class ArrivalOrder : std::uint8_t {
    kShuffle,  // by name, then shuffled with the seed
    kTrace     // by creation time, then by name
};

// Indexes into workload.pods: all pods in the order asked for, then pods drawn at random with
// replacement, until the next one would make the GPU asked for pass `inflate` times `cards`. Where
// the workload alone asks for more, it is cut there.
// kInvalid for kTrace when a pod has no creation time.
Result<std::vector<std::uint32_t>> arrivals(
    const Workload& workload, ArrivalOrder order, double inflate, int cards, std::uint64_t seed
);

// The workload `copies` times over, each copy in a random order of its own.
std::vector<std::uint32_t> repeated(const Workload& workload, int copies, std::uint64_t seed);

}  // namespace egpu::simulate
