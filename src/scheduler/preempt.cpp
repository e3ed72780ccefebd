#include "scheduler/preempt.h"

#include <algorithm>
#include <string_view>

namespace egpu::scheduler {
namespace {

// Pods to evict beside `victims`, or nullopt when the pod fits nowhere on the node even then.
std::optional<std::vector<std::string>> more_victims(
    const State& state,
    const PodFacts& pod,
    const std::string& node,
    const std::vector<std::string>& victims
) {
    std::vector<State::Resident> others = state.residents(node);
    std::erase_if(others, [&](const State::Resident& other) {
        return other.priority >= pod.priority ||
               std::find(victims.begin(), victims.end(), other.uid) != victims.end();
    });
    std::stable_sort(others.begin(), others.end(), [](const auto& a, const auto& b) {
        return a.priority < b.priority;
    });
    std::vector<std::string_view> gone(victims.begin(), victims.end());
    const std::size_t proposed = gone.size();
    bool fits = false;
    for (const State::Resident& other : others) {
        gone.push_back(other.uid);
        if ((fits = state.fits_without(pod, node, gone))) break;
    }
    if (!fits) return std::nullopt;
    // Spare whom we can, the highest priority first.
    for (std::size_t i = gone.size(); i-- > proposed;) {
        const std::string_view spared = gone[i];
        gone.erase(gone.begin() + static_cast<std::ptrdiff_t>(i));
        if (!state.fits_without(pod, node, gone)) {
            gone.insert(gone.begin() + static_cast<std::ptrdiff_t>(i), spared);
        }
    }
    return std::vector<std::string>(
        gone.begin() + static_cast<std::ptrdiff_t>(proposed), gone.end()
    );
}

}  // namespace

std::vector<k8s::ExtenderVictims> choose_victims(
    const State& state, const PodFacts& pod, const std::vector<k8s::ExtenderVictims>& candidates
) {
    std::vector<k8s::ExtenderVictims> out;
    for (const k8s::ExtenderVictims& candidate : candidates) {
        const std::vector<std::string_view> gone(candidate.uids.begin(), candidate.uids.end());
        k8s::ExtenderVictims kept;
        kept.node = candidate.node;
        kept.uids = candidate.uids;
        kept.pdb_violations = candidate.pdb_violations;
        if (!state.fits_without(pod, candidate.node, gone)) {
            const auto more = more_victims(state, pod, candidate.node, candidate.uids);
            if (!more) continue;
            kept.uids.insert(kept.uids.end(), more->begin(), more->end());
            kept.pdb_violations += static_cast<std::int64_t>(more->size());
        }
        // Go refuses a node without victims; nothing to evict, nothing to say.
        if (kept.uids.empty()) continue;
        out.push_back(std::move(kept));
    }
    return out;
}

}  // namespace egpu::scheduler
