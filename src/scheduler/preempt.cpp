#include "scheduler/preempt.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace egpu::scheduler {
namespace {

// Whom to evict where evicting `proposed` is not enough, or nullopt when the pod fits nowhere on
// the node even then.
std::optional<std::vector<std::string>> other_victims(
    const State& state,
    const PodFacts& pod,
    const std::string& node,
    const std::vector<std::string>& proposed
) {
    const std::set<std::string_view> were_proposed(proposed.begin(), proposed.end());
    std::vector<State::Resident> residents = state.residents(node);
    std::stable_sort(residents.begin(), residents.end(), [](const auto& a, const auto& b) {
        return a.priority < b.priority;
    });
    // Proposed ones first, then those that are added, each by priority.
    std::vector<std::string_view> gone;
    for (const std::string& uid : proposed) {
        const bool holds_cards = std::any_of(residents.begin(), residents.end(), [&](auto& other) {
            return other.uid == uid;
        });
        if (!holds_cards) gone.push_back(uid);
    }
    const std::size_t stay_listed = gone.size();
    for (const State::Resident& resident : residents) {
        if (were_proposed.contains(resident.uid)) gone.push_back(resident.uid);
    }
    bool fits = false;
    for (const State::Resident& other : residents) {
        if (other.priority >= pod.priority || were_proposed.contains(other.uid)) continue;
        gone.push_back(other.uid);
        if ((fits = state.fits_without(pod, node, gone))) break;
    }
    if (!fits) return std::nullopt;
    // Spare whom we can, the highest priority first.
    for (std::size_t i = gone.size(); i-- > stay_listed;) {
        const std::string_view spared = gone[i];
        gone.erase(gone.begin() + static_cast<std::ptrdiff_t>(i));
        if (!state.fits_without(pod, node, gone)) {
            gone.insert(gone.begin() + static_cast<std::ptrdiff_t>(i), spared);
        }
    }
    return std::vector<std::string>(gone.begin(), gone.end());
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
            auto others = other_victims(state, pod, candidate.node, candidate.uids);
            if (!others) continue;
            kept.uids = *std::move(others);
            for (const std::string& uid : kept.uids) {
                const auto& proposed = candidate.uids;
                if (std::find(proposed.begin(), proposed.end(), uid) == proposed.end()) {
                    ++kept.pdb_violations;
                }
            }
        }
        // Go refuses a node without victims; nothing to evict, nothing to say.
        if (kept.uids.empty()) continue;
        out.push_back(std::move(kept));
    }
    return out;
}

}  // namespace egpu::scheduler
