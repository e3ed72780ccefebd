// What `edge-gpu simulate` prints. Pure.
#pragma once

#include <string>
#include <vector>

#include "simulate/options.h"
#include "simulate/run_result.h"

namespace egpu::simulate {

// One line per workload and policy, means over the seeds, and under several workloads a mean line
// per policy.
std::string table(const std::vector<RunResult>& results, const Options& options);
// {"results": [{"workload", "policy", "seed", "allocated_pct_at_100", "allocated_pct_at_130",
// "seconds", ...}]}, one object per run; the second percentage is called after --inflate.
std::string json_text(const std::vector<RunResult>& results, const Options& options);
// The same without the curve, one line per run.
std::string csv_text(const std::vector<RunResult>& results, const Options& options);

}  // namespace egpu::simulate
