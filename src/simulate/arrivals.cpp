#include "simulate/arrivals.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace egpu::simulate {
namespace {

std::vector<std::uint32_t> by_name(const Workload& workload) {
    std::vector<std::uint32_t> out(workload.pods.size());
    std::iota(out.begin(), out.end(), 0U);
    return out;
}

std::int64_t percent_of(const TracePod& pod) {
    return std::int64_t{pod.shape.cards} * pod.shape.percent;
}

// All pods by creation time, then by name.
Result<std::vector<std::uint32_t>> by_creation(const Workload& workload) {
    for (const TracePod& pod : workload.pods) {
        if (pod.created) continue;
        return Error{
            ErrorCode::kInvalid,
            "--arrivals trace: pod " + pod.name + " of " + workload.name +
                " has no creation_time; use --arrivals shuffle"};
    }
    std::vector<std::uint32_t> out = by_name(workload);
    std::stable_sort(out.begin(), out.end(), [&](std::uint32_t a, std::uint32_t b) {
        return *workload.pods[a].created < *workload.pods[b].created;
    });
    return out;
}

}  // namespace

Result<std::vector<std::uint32_t>> arrivals(
    const Workload& workload, ArrivalOrder order, double inflate, int cards, std::uint64_t seed
) {
    Random random(seed);
    std::vector<std::uint32_t> out;
    if (order == ArrivalOrder::kShuffle) {
        out = by_name(workload);
        shuffle(out, random);
    } else {
        EG_TRY(out, by_creation(workload));
    }
    const double most = inflate * cards * 100;
    double asked = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        asked += static_cast<double>(percent_of(workload.pods[out[i]]));
        if (asked > most) {
            out.resize(i);
            return out;
        }
    }
    while (true) {
        const auto pod = static_cast<std::uint32_t>(random.below(workload.pods.size()));
        asked += static_cast<double>(percent_of(workload.pods[pod]));
        if (asked > most) return out;
        out.push_back(pod);
    }
}

Result<std::vector<TimedArrival>> timed_arrivals(
    const Workload& workload, ArrivalOrder order, int copies, double rate, std::uint64_t seed
) {
    std::vector<TimedArrival> out;
    if (order == ArrivalOrder::kShuffle) {
        Random random(seed);
        double now = 0;
        for (int copy = 0; copy < copies; ++copy) {
            std::vector<std::uint32_t> pods = by_name(workload);
            shuffle(pods, random);
            for (const std::uint32_t pod : pods) {
                now -= std::log1p(-static_cast<double>(random() >> 11) * 0x1.0p-53) / rate;
                out.push_back({pod, now});
            }
        }
        return out;
    }
    EG_TRY(const auto pods, by_creation(workload));
    const double first = static_cast<double>(*workload.pods[pods.front()].created);
    const double span = static_cast<double>(*workload.pods[pods.back()].created) - first;
    const double length = static_cast<double>(pods.size()) / rate;
    for (int copy = 0; copy < copies; ++copy) {
        for (const std::uint32_t pod : pods) {
            const double after = static_cast<double>(*workload.pods[pod].created) - first;
            out.push_back({pod, length * (copy + (span > 0 ? after / span : 0))});
        }
    }
    return out;
}

}  // namespace egpu::simulate
