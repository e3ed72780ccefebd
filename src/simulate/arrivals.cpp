#include "simulate/arrivals.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.h"

namespace egpu::simulate {
namespace {

// std::shuffle may differ between libraries.
void shuffle(std::vector<std::uint32_t>& order, Random& random) {
    for (std::size_t left = order.size(); left > 1; --left) {
        std::swap(order[left - 1], order[random.below(left)]);
    }
}

std::int64_t percent_of(const TracePod& pod) {
    return std::int64_t{pod.shape.cards} * pod.shape.percent;
}

}  // namespace

Result<std::vector<std::uint32_t>> arrivals(
    const Workload& workload, ArrivalOrder order, double inflate, int cards, std::uint64_t seed
) {
    std::vector<std::uint32_t> out(workload.pods.size());
    std::iota(out.begin(), out.end(), 0U);
    Random random(seed);
    if (order == ArrivalOrder::kShuffle) {
        shuffle(out, random);
    } else {
        for (const TracePod& pod : workload.pods) {
            if (pod.created) continue;
            return Error{
                ErrorCode::kInvalid,
                "--arrivals trace: pod " + pod.name + " of " + workload.name +
                    " has no creation_time; use --arrivals shuffle"};
        }
        std::stable_sort(out.begin(), out.end(), [&](std::uint32_t a, std::uint32_t b) {
            return *workload.pods[a].created < *workload.pods[b].created;
        });
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

std::vector<std::uint32_t> repeated(const Workload& workload, int copies, std::uint64_t seed) {
    std::vector<std::uint32_t> out;
    Random random(seed);
    for (int copy = 0; copy < copies; ++copy) {
        std::vector<std::uint32_t> order(workload.pods.size());
        std::iota(order.begin(), order.end(), 0U);
        shuffle(order, random);
        out.insert(out.end(), order.begin(), order.end());
    }
    return out;
}

}  // namespace egpu::simulate
