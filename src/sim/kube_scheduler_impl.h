// The inside of the small kube-scheduler: its threads, its lock and what it knows. Internal.
// kube_scheduler.cpp starts, stops and listens to the API server; the cycle, binding and preemption
// are in files of their own.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/stop.h"
#include "k8s/watch.h"
#include "sim/evictions.h"
#include "sim/kube_scheduler.h"
#include "sim/pod_writer.h"
#include "sim/preemption.h"
#include "sim/scheduler_cache.h"

namespace egpu::sim {

class KubeScheduler::Impl {
  public:
    Impl(
        k8s::Client client, KubeSchedulerOptions options, std::unique_ptr<ExtenderCaller> extender
    );
    void start();
    void stop();
    bool synced() const;
    KubeSchedulerStats stats() const;

  private:
    using Pod = std::shared_ptr<const SchedPod>;

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

    // What the API server says.
    void pod_changed(const json::value& object);
    void pod_gone(const std::string& uid);
    void node_changed(const json::value& object);

    // The scheduling cycle: serial.
    void cycle_loop();
    void schedule(const Pod& pod, const Snapshot& snapshot, const std::string& nominated);
    Result<Search> find_feasible(
        const SchedPod& pod, const NodeList& nodes, const Snapshot& snapshot
    );
    void choose(const Pod& pod, const NodeList& feasible, const Snapshot& snapshot);

    // Binding: beside the next pod's cycle.
    void bind_loop();
    Status bind(const SchedPod& pod, const std::string& node);
    void unbind(const Pod& pod, const Error& error);

    // Failures.
    Failure scheduler_error(std::string text) const;
    void attempt_failed(const Pod& pod, Failure failure);
    void released(const std::string& uid, bool at_once);

    // Makes room on a node when that is possible: `text` says why not, `nominate` where. The
    // victims are still to be evicted (1.34) or are being deleted (1.21).
    Failure preempt(
        const Pod& pod, const Search& search, const Snapshot& snapshot, const std::string& nominated
    );
    Result<Victims> asked_extender(
        const SchedPod& pod, const Victims& victims, const Snapshot& snapshot
    );
    Failure nominate(
        const Pod& pod, const std::string& node, std::vector<Pod> victims, const Snapshot& snapshot
    );

    bool is_1_34() const { return options_.dialect == testing::Dialect::k1_34; }

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

}  // namespace egpu::sim
