#include "sim/node_scores.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace egpu::sim {

namespace {

constexpr std::int64_t kMaxNodeScore = 100;
// Both count what a pod that names no request is taken for.
struct Resource {
    const char* name;
    std::int64_t of_nothing;
};
constexpr std::array kResources{Resource{"cpu", 100}, Resource{"memory", 200 * 1024 * 1024}};

std::int64_t amount(const Amounts& from, const char* resource) {
    const auto found = from.find(resource);
    return found == from.end() ? 0 : found->second;
}

}  // namespace

std::int64_t plugins_score(const SchedPod& pod, const SchedNode& node, const Amounts& used) {
    std::int64_t least = 0;
    std::array<double, kResources.size()> fractions{};
    for (std::size_t i = 0; i < kResources.size(); ++i) {
        const std::int64_t all = amount(node.allocatable, kResources[i].name);
        if (all <= 0) return 0;
        std::int64_t own = amount(pod.requests, kResources[i].name);
        if (own == 0) own = kResources[i].of_nothing;
        const std::int64_t wanted = amount(used, kResources[i].name) + own;
        if (wanted <= all) least += (all - wanted) * kMaxNodeScore / all;
        fractions[i] = std::min(1.0, static_cast<double>(wanted) / static_cast<double>(all));
    }
    const double deviation = std::abs(fractions[0] - fractions[1]) / 2;
    const auto balanced =
        static_cast<std::int64_t>((1 - deviation) * static_cast<double>(kMaxNodeScore));
    return least / static_cast<std::int64_t>(kResources.size()) + balanced;
}

}  // namespace egpu::sim
