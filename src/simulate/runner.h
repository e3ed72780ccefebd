// All runs of a simulation, several at a time. The results do not depend on how many.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "simulate/options.h"
#include "simulate/run_result.h"
#include "simulate/trace.h"

namespace egpu::simulate {

// By workload, then policy, then seed, in the order of the options. `watch` is called by the
// calling thread about ten times a second with the share of the work that is done, 0..1. An error
// is that of the first run that has one; the others are then not started.
Result<std::vector<RunResult>> run_all(
    const Cluster& cluster,
    const std::vector<Workload>& workloads,
    const Options& options,
    const std::function<void(double)>& watch
);

}  // namespace egpu::simulate
