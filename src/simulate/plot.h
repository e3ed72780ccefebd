// Pictures of a simulation, as SVG: how much of the GPU each policy has allocated while pods
// arrive, and why what is free cannot be used. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "simulate/options.h"
#include "simulate/run_result.h"

namespace egpu::simulate {

// One workload's runs as one picture: means over the seeds, the spread between them as a band.
// Above, a curve per policy, the whole run on the left and its end enlarged on the right; below,
// the free GPU by cause, one panel per policy.
std::string plot_workload(const std::vector<RunResult>& results, const Options& options);

// By file: `path` itself for one workload; for several its name goes before the suffix,
// "plot.svg" to "plot-default.svg".
std::vector<std::pair<std::string, std::string>> plots(
    const std::string& path, const std::vector<RunResult>& results, const Options& options
);

}  // namespace egpu::simulate
