// The scheduling cycle, one pod at a time.
#include "sim/kube_scheduler_impl.h"
#include "sim/node_scores.h"
#include "sim/preemption.h"

namespace egpu::sim {

void KubeScheduler::Impl::cycle_loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const auto now = MonoClock::now();
        const auto uid = synced() ? queue_.pop(now) : std::nullopt;
        if (!uid) {
            const auto next = queue_.next_try();
            const TimePoint least = now + Millis(5);  // also while the lists are not complete
            changed_.wait_until(lock, std::max(next.value_or(now + Seconds(1)), least));
            continue;
        }
        const Pod pod = cache_.pod(*uid);
        if (pod == nullptr) {
            queue_.remove(*uid);
            continue;
        }
        ++stats_.cycles;
        const Snapshot snapshot = cache_.snapshot();
        const std::string nominated = cache_.nominated_node(*uid);
        lock.unlock();
        schedule(pod, snapshot, nominated);
        lock.lock();
    }
}

void KubeScheduler::Impl::schedule(
    const Pod& pod, const Snapshot& snapshot, const std::string& nominated
) {
    const NodeList& all = snapshot.nodes;
    if (!nominated.empty() && is_1_34()) {
        // The nominated node alone first; everything again when it does not do.
        NodeList one;
        for (const auto& node : all) {
            if (node->name == nominated) one.push_back(node);
        }
        auto search = find_feasible(*pod, one, snapshot);
        if (search && !search->feasible.empty()) return choose(pod, search->feasible, snapshot);
    }
    auto search = find_feasible(*pod, all, snapshot);
    if (!search) {
        const std::scoped_lock lock(mutex_);
        ++stats_.extender_errors;
    }
    if (!search) return attempt_failed(pod, scheduler_error(search.error().message));
    if (!search->feasible.empty()) return choose(pod, search->feasible, snapshot);
    {
        const std::scoped_lock lock(mutex_);
        ++stats_.unschedulable;
    }
    Failure failure;
    if (!all.empty()) failure = preempt(pod, *search, snapshot, nominated);
    failure.reason = "Unschedulable";
    failure.wait_for_event = true;
    // 1.21 keeps to itself what came of the preemption.
    const std::string after = is_1_34() ? std::exchange(failure.text, "") : "";
    failure.text = unavailable_text(all.size(), search->reasons);
    if (!after.empty()) failure.text += " " + after;
    attempt_failed(pod, std::move(failure));
}

Result<KubeScheduler::Impl::Search> KubeScheduler::Impl::find_feasible(
    const SchedPod& pod, const NodeList& nodes, const Snapshot& snapshot
) {
    Search out;
    for (const auto& node : nodes) {
        Misfit misfit = why_not(pod, *node, snapshot.used(node->name, pod));
        if (misfit.reason.empty()) {
            out.feasible.push_back(node);
            continue;
        }
        out.reasons[node->name] = misfit.reason;
        if (misfit.unresolvable) out.unresolvable.insert(node->name);
    }
    if (out.feasible.empty() || !extender_->interested(pod)) return out;
    EG_TRY(const FilterAnswer answer, extender_->filter(pod, out.feasible));
    const std::set<std::string> passed(answer.nodes.begin(), answer.nodes.end());
    NodeList left;
    for (const auto& node : out.feasible) {
        if (passed.contains(node->name)) {
            left.push_back(node);
            continue;
        }
        const auto failed = answer.failed.find(node->name);
        if (failed != answer.failed.end()) {
            out.reasons[node->name] = failed->second;
            continue;
        }
        const auto final_word = answer.unresolvable.find(node->name);
        if (final_word != answer.unresolvable.end()) {
            out.reasons[node->name] = final_word->second;
        } else if (!is_1_34()) {
            continue;
        }
        // A node in neither map counts as unresolvable, too, without a reason (from 1.32 on).
        out.unresolvable.insert(node->name);
    }
    out.feasible = std::move(left);
    return out;
}

void KubeScheduler::Impl::choose(
    const Pod& pod, const NodeList& feasible, const Snapshot& snapshot
) {
    std::string node = feasible.front()->name;
    if (feasible.size() > 1) {
        std::map<std::string, std::int64_t> scores;
        if (extender_->interested(*pod)) {
            // An error here is ignored by kube-scheduler: all scores count as zero.
            if (auto answer = extender_->prioritize(*pod, feasible)) scores = *std::move(answer);
        }
        std::int64_t best = 0;
        int equals = 0;
        for (const auto& candidate : feasible) {
            const std::int64_t score =
                scores[candidate->name] +
                plugins_score(*pod, *candidate, snapshot.used(candidate->name, *pod));
            if (equals > 0 && score < best) continue;
            equals = equals > 0 && score == best ? equals + 1 : 1;
            best = score;
            if (equals == 1 || random_.below(static_cast<std::uint64_t>(equals)) == 0) {
                node = candidate->name;
            }
        }
    }
    {
        const std::scoped_lock lock(mutex_);
        cache_.assume(pod->uid, node);
        binds_.emplace_back(pod, node);
    }
    changed_.notify_all();
}

KubeScheduler::Impl::Failure KubeScheduler::Impl::scheduler_error(std::string text) const {
    if (!is_1_34()) return {"Unschedulable", std::move(text)};
    return {.reason = "SchedulerError", .text = std::move(text), .nominate = ""};
}

void KubeScheduler::Impl::attempt_failed(const Pod& pod, Failure failure) {
    bool settled = false;
    {
        const std::scoped_lock lock(mutex_);
        const Pod now = cache_.pod(pod->uid);
        // Deleted meanwhile, or bound after all although the answer got lost.
        settled = now == nullptr || !now->node.empty();
        if (settled) {
            queue_.remove(pod->uid);
        } else {
            if (failure.nominate) cache_.nominate(pod->uid, *failure.nominate);
            if (failure.eviction) queue_.hold(pod->uid);
            queue_.failed(pod->uid, failure.wait_for_event, MonoClock::now());
        }
    }
    changed_.notify_all();
    if (!settled) writer_.not_scheduled(*pod, failure.reason, failure.text, failure.nominate);
    if (failure.eviction) evictions_->add(*std::move(failure.eviction));
}

}  // namespace egpu::sim
