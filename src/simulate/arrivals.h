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

// A pod and when it comes, in seconds from the beginning.
struct TimedArrival {
    std::uint32_t pod = 0;  // index into workload.pods
    double time = 0;
};

// The workload `copies` times over, `rate` pods per second on average. kShuffle: each copy in a
// random order of its own, at random (exponential) distances. kTrace: each copy in the order and
// at the relative distances of the trace's creation times.
// kInvalid for kTrace when a pod has no creation time.
Result<std::vector<TimedArrival>> timed_arrivals(
    const Workload& workload, ArrivalOrder order, int copies, double rate, std::uint64_t seed
);

}  // namespace egpu::simulate
