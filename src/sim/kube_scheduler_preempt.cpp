// Preemption.
#include "base/log.h"
#include "sim/kube_scheduler_impl.h"
#include "sim/preemption.h"

namespace egpu::sim {

KubeScheduler::Impl::Failure KubeScheduler::Impl::preempt(
    const Pod& pod, const Search& search, const Snapshot& snapshot, const std::string& nominated
) {
    const auto rejected = [](const std::string& why) {
        // The plugin for dynamic resources speaks first.
        return Failure{"", "no new claims to deallocate, preemption: " + why};
    };
    const std::string why =
        why_not_eligible(*pod, snapshot, nominated, search.unresolvable, options_.dialect);
    if (!why.empty()) return rejected(why);
    DryRun tried = dry_run(*pod, snapshot, search.unresolvable, options_.dialect);
    if (tried.candidates.empty()) {
        const std::string text = no_candidates_text(tried, snapshot.nodes.size());
        if (!tried.errors.empty()) return {"", "preemption: " + text};
        Failure out = rejected(text);
        // 1.21 does so when it had no node to try.
        if (is_1_34() || tried.reasons.empty()) out.nominate = "";
        return out;
    }
    Victims victims = std::move(tried.candidates);
    if (extender_->config().preempt && extender_->interested(*pod)) {
        auto left = asked_extender(*pod, victims, snapshot);
        if (!left) {
            const std::scoped_lock lock(mutex_);
            ++stats_.extender_errors;
            return {"", "preemption: " + left.error().message};
        }
        victims = *std::move(left);
    }
    const auto node = least_harm(victims);
    if (!node) return rejected("no candidate node for preemption");
    return nominate(pod, *node, victims[*node], snapshot);
}

Result<Victims> KubeScheduler::Impl::asked_extender(
    const SchedPod& pod, const Victims& victims, const Snapshot& snapshot
) {
    EG_TRY(const auto answer, extender_->preempt(pod, victims));
    return narrowed(victims, answer, snapshot, options_.dialect);
}

KubeScheduler::Impl::Failure KubeScheduler::Impl::nominate(
    const Pod& pod, const std::string& node, std::vector<Pod> victims, const Snapshot& snapshot
) {
    Eviction eviction{pod, node, std::move(victims), {}};
    {
        const std::scoped_lock lock(mutex_);
        ++stats_.preemptions;
        if (const auto here = snapshot.nominated.find(node); here != snapshot.nominated.end()) {
            for (const auto& other : here->second) {
                if (other->priority >= pod->priority) continue;
                cache_.nominate(other->uid, "");
                eviction.outranked.push_back(other);
            }
        }
    }
    if (is_1_34()) return {.reason = "", .nominate = node, .eviction = std::move(eviction)};
    const Status done = evict_now(writer_, eviction);
    if (done) return {.reason = "", .nominate = node};
    log::warn("preemption failed", {{"pod", pod->key()}, {"why", done.error().message}});
    return {};
}

}  // namespace egpu::sim
