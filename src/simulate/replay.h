// One run: a workload's pods arrive one by one, nothing departs, a pod that fits nowhere is
// dropped. The protocol behind the published numbers of FGD (docs/placement.md).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "core/policy/fleet.h"
#include "core/policy/scorer.h"
#include "simulate/arrivals.h"
#include "simulate/run_result.h"

namespace egpu::simulate {

struct RunOptions {
    double inflate = 1.3;
    ArrivalOrder order = ArrivalOrder::kShuffle;
    core::FleetOptions fleet;  // its seed is the run's
    // with departures (departures.h)
    bool departures = false;
    int copies = 12;
    double longest = 3600;  // seconds
};

// What one run is made of. All but the seed belongs to the caller, who keeps it for the run.
struct RunInput {
    const Cluster& cluster;
    const Workload& workload;
    const core::Scorer& scorer;
    std::uint64_t seed;
    const RunOptions& options;
    std::atomic<int>& progress;  // 0..1000; may be read meanwhile
};

// How often each shape is in the workload.
std::vector<core::ShapeWeight> demand_of(const Workload& workload);

// `fgd` knows the workload's demand beforehand, as the published program does; `fill-gradient`
// learns it.
Result<RunResult> replay(const RunInput& input);

}  // namespace egpu::simulate
