#include "simulate/plot_series.h"

#include <cmath>

namespace egpu::simulate {

std::vector<Series> series_of(const std::vector<RunResult>& results) {
    std::vector<Series> out;
    for (const RunResult& run : results) {
        auto it = std::find_if(out.begin(), out.end(), [&](const Series& s) {
            return s.policy == run.policy;
        });
        if (it == out.end()) {
            out.push_back({run.policy, {}, 0});
            it = out.end() - 1;
        }
        std::map<long, const Sample*> last;  // of each percent
        for (const Sample& sample : run.curve) last[std::lround(sample.arrived_pct)] = &sample;
        for (const auto& [percent, sample] : last) {
            Spread& at = it->points[percent];
            at.add(sample->allocated_pct);
            if (!sample->free_by_cause) continue;
            at.causes += *sample->free_by_cause;
            ++at.with_causes;
        }
    }
    for (Series& series : out) {
        int runs = 0;
        for (const auto& [at, spread] : series.points) runs = std::max(runs, spread.count);
        std::erase_if(series.points, [&](const auto& point) { return point.second.count < runs; });
        if (!series.points.empty()) series.last = series.points.rbegin()->second.mean();
    }
    std::erase_if(out, [](const Series& s) { return s.points.empty(); });
    return out;
}

}  // namespace egpu::simulate
