#include "sim/kube_scheduler.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "k8s/watch.h"
#include "sim/evictions.h"
#include "sim/node_scores.h"
#include "sim/pod_writer.h"
#include "sim/preemption.h"
#include "sim/scheduler_cache.h"

namespace egpu::sim {

namespace {

// The outcome of looking for a node.
struct Search {
    NodeList feasible;
    std::map<std::string, std::string> reasons;  // of the others
    std::set<std::string> unresolvable;          // those where no eviction helps
};

// What an attempt that found no node leaves behind.
struct Failure {
    std::string reason;  // of the PodScheduled condition
    std::string text{};
    bool wait_for_event = false;
    std::optional<std::string> nominate{};  // "": a nomination is taken back
    std::optional<Eviction> eviction{};     // still to be done
};

}  // namespace

class KubeScheduler::Impl {
  public:
    Impl(k8s::Client client, KubeSchedulerOptions options, std::unique_ptr<ExtenderCaller> extender)
        : writer_(client.with_user_agent("kube-scheduler"), stop_.token(), options.dialect),
          options_(std::move(options)),
          extender_(std::move(extender)),
          queue_(options_.queue),
          random_(options_.seed) {
        const k8s::Client watching = client.with_user_agent("kube-scheduler");
        k8s::ReflectorOptions pods;
        pods.path = "/api/v1/pods";
        pods.field_selector = "status.phase!=Succeeded,status.phase!=Failed";
        pods.backoff_first = Millis(50);
        pods.backoff_most = Seconds(1);
        k8s::ReflectorOptions nodes = pods;
        nodes.path = "/api/v1/nodes";
        nodes.field_selector.clear();
        pods_watch_ = std::make_unique<k8s::Reflector>(
            watching,
            pods,
            k8s::ReflectorCallbacks{
                [this](const json::value& pod) { pod_changed(pod); },
                [this](std::string_view, std::string_view uid, const json::value*) {
                    pod_gone(std::string(uid));
                },
                {}}
        );
        nodes_watch_ = std::make_unique<k8s::Reflector>(
            watching,
            nodes,
            k8s::ReflectorCallbacks{
                [this](const json::value& node) { node_changed(node); },
                [this](std::string_view key, std::string_view, const json::value*) {
                    const std::scoped_lock lock(mutex_);
                    cache_.remove_node(std::string(key));
                },
                {}}
        );
    }

    void start() {
        evictions_ = std::make_unique<Evictions>(
            writer_,
            Evictions::Callbacks{
                [this](const std::string& uid) { released(uid, false); },
                [this](const std::string& uid) { released(uid, true); }}
        );
        nodes_watch_->start();
        pods_watch_->start();
        cycle_thread_ = std::thread([this] { cycle_loop(); });
        for (int i = 0; i < options_.bind_workers; ++i) {
            bind_threads_.emplace_back([this] { bind_loop(); });
        }
    }

    void stop() {
        {
            const std::scoped_lock lock(mutex_);
            if (stopping_) return;
            stopping_ = true;
        }
        stop_.request();
        changed_.notify_all();
        pods_watch_->stop();
        nodes_watch_->stop();
        if (cycle_thread_.joinable()) cycle_thread_.join();
        for (std::thread& t : bind_threads_) t.join();
        bind_threads_.clear();
        if (evictions_) evictions_->stop();
        writer_.stop();
    }

    bool synced() const { return pods_watch_->synced() && nodes_watch_->synced(); }

    KubeSchedulerStats stats() const {
        const std::scoped_lock lock(mutex_);
        KubeSchedulerStats out = stats_;
        out.waiting = queue_.size();
        return out;
    }

  private:
    using Pod = std::shared_ptr<const SchedPod>;

    // ---- what the API server says

    void pod_changed(const json::value& object) {
        auto pod = sched_pod(object);
        if (!pod) {
            log::warn("pod ignored", {{"why", pod.error().message}});
            return;
        }
        const std::string uid = pod->uid;
        const bool ours =
            pod->scheduler_name.empty() || pod->scheduler_name == options_.scheduler_name;
        const bool pending = pod->node.empty() && ours && !pod->deleting && !pod->gated;
        {
            const std::scoped_lock lock(mutex_);
            const auto now = MonoClock::now();
            if (pending) {
                if (cache_.node_of(uid).empty()) queue_.add(uid, pod->priority, now);
            } else {
                queue_.remove(uid);
            }
            if (cache_.upsert_pod(*std::move(pod))) queue_.cluster_event(now);
        }
        changed_.notify_all();
    }

    void pod_gone(const std::string& uid) {
        {
            const std::scoped_lock lock(mutex_);
            queue_.remove(uid);
            if (cache_.remove_pod(uid)) queue_.cluster_event(MonoClock::now());
        }
        changed_.notify_all();
    }

    void node_changed(const json::value& object) {
        auto node = sched_node(object);
        if (!node) {
            log::warn("node ignored", {{"why", node.error().message}});
            return;
        }
        {
            const std::scoped_lock lock(mutex_);
            if (cache_.upsert_node(*std::move(node))) queue_.cluster_event(MonoClock::now());
        }
        changed_.notify_all();
    }

    // ---- the scheduling cycle: serial

    void cycle_loop() {
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

    bool is_1_34() const { return options_.dialect == testing::Dialect::k1_34; }

    void schedule(const Pod& pod, const Snapshot& snapshot, const std::string& nominated) {
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

    Failure scheduler_error(std::string text) const {
        if (!is_1_34()) return {"Unschedulable", std::move(text)};
        return {.reason = "SchedulerError", .text = std::move(text), .nominate = ""};
    }

    Result<Search> find_feasible(
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

    void choose(const Pod& pod, const NodeList& feasible, const Snapshot& snapshot) {
        std::string node = feasible.front()->name;
        if (feasible.size() > 1) {
            std::map<std::string, std::int64_t> scores;
            if (extender_->interested(*pod)) {
                // An error here is ignored by kube-scheduler: all scores count as zero.
                if (auto answer = extender_->prioritize(*pod, feasible))
                    scores = *std::move(answer);
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

    // ---- binding: beside the next pod's cycle

    void bind_loop() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            if (binds_.empty()) {
                changed_.wait(lock);
                continue;
            }
            const auto [pod, node] = std::move(binds_.front());
            binds_.pop_front();
            lock.unlock();
            const Status bound = bind(*pod, node);
            if (bound) {
                writer_.scheduled(*pod, node);
            } else {
                unbind(pod, bound.error());
            }
            lock.lock();
            if (bound) ++stats_.bound;
        }
    }

    Status bind(const SchedPod& pod, const std::string& node) {
        if (extender_->interested(pod)) return extender_->bind(pod, node);
        return writer_.bind(pod, node);
    }

    void unbind(const Pod& pod, const Error& error) {
        {
            const std::scoped_lock lock(mutex_);
            ++stats_.bind_errors;
            cache_.forget(pod->uid);
            // What it had assumed is free again.
            queue_.cluster_event(MonoClock::now());
        }
        Failure failure = scheduler_error("binding rejected: " + error.message);
        failure.reason = "SchedulerError";
        attempt_failed(pod, std::move(failure));
    }

    // ---- failures and preemption

    void attempt_failed(const Pod& pod, Failure failure) {
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

    void released(const std::string& uid, bool at_once) {
        {
            const std::scoped_lock lock(mutex_);
            queue_.release(uid);
            if (at_once) queue_.activate(uid, MonoClock::now());
        }
        changed_.notify_all();
    }

    // Makes room on a node when that is possible: `text` says why not, `nominate` where. The
    // victims are still to be evicted (1.34) or are being deleted (1.21).
    Failure preempt(
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

    Result<Victims> asked_extender(
        const SchedPod& pod, const Victims& victims, const Snapshot& snapshot
    ) {
        EG_TRY(const auto answer, extender_->preempt(pod, victims));
        return narrowed(victims, answer, snapshot, options_.dialect);
    }

    Failure nominate(
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

    StopSource stop_;
    PodWriter writer_;
    std::unique_ptr<Evictions> evictions_;
    KubeSchedulerOptions options_;
    std::unique_ptr<ExtenderCaller> extender_;
    std::unique_ptr<k8s::Reflector> pods_watch_;
    std::unique_ptr<k8s::Reflector> nodes_watch_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    SchedulerCache cache_;
    SchedulingQueue queue_;
    std::deque<std::pair<Pod, std::string>> binds_;
    KubeSchedulerStats stats_;
    bool stopping_ = false;

    Random random_;  // of the cycle thread only
    std::thread cycle_thread_;
    std::vector<std::thread> bind_threads_;
};

Result<std::unique_ptr<KubeScheduler>> KubeScheduler::start(
    k8s::Client client, KubeSchedulerOptions options
) {
    EG_TRY(auto extender, ExtenderCaller::open(options.extender));
    auto impl = std::make_unique<Impl>(std::move(client), std::move(options), std::move(extender));
    impl->start();
    return std::unique_ptr<KubeScheduler>(new KubeScheduler(std::move(impl)));
}

KubeScheduler::KubeScheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

KubeScheduler::~KubeScheduler() {
    stop();
}

void KubeScheduler::stop() {
    impl_->stop();
}

bool KubeScheduler::synced() const {
    return impl_->synced();
}

KubeSchedulerStats KubeScheduler::stats() const {
    return impl_->stats();
}

}  // namespace egpu::sim
