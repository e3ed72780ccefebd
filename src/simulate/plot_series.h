// What a plot shows of a policy: its runs together, point by point. Pure.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "core/policy/causes.h"
#include "simulate/run_result.h"

namespace egpu::simulate {

// Allocated percent of several runs at one point, and their free GPU by cause.
struct Spread {
    double sum = 0;
    double low = 1e300;
    double high = -1e300;
    int count = 0;
    core::Causes causes;  // of `with_causes` runs, summed
    int with_causes = 0;

    void add(double value) {
        sum += value;
        low = std::min(low, value);
        high = std::max(high, value);
        ++count;
    }
    double mean() const { return sum / count; }
};

struct Series {
    std::string policy;
    std::map<long, Spread> points;  // by whole percent arrived
    double last = 0;                // mean of the last point
};

// In the order in which the policies come. Points that not all runs of a policy have are left out:
// the mean would jump there.
std::vector<Series> series_of(const std::vector<RunResult>& results);

}  // namespace egpu::simulate
