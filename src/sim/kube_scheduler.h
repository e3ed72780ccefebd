// A small kube-scheduler: watches pods and nodes, tries one pod at a time, calls the extender for
// filter, priorities and preempt in that serial cycle and for bind beside it, retries with back-off
// on cluster events, and explains itself in events and the PodScheduled condition.
//
// Behaves like kube-scheduler 1.34, or 1.21 when told, where the extender and a user can see it;
// see scheduling_facts.h for which plugins exist. Pods without a managed resource are bound by
// itself.
//
// The dialects differ in preemption: 1.34 nominates the node, ends the cycle and evicts the victims
// beside the next pods' cycles, and says in the event why preemption did not help; 1.21 evicts
// within the cycle and says nothing. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "k8s/client.h"
#include "sim/extender_caller.h"
#include "sim/scheduling_queue.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

struct KubeSchedulerOptions {
    ExtenderConfig extender;
    testing::Dialect dialect = testing::Dialect::k1_34;
    QueueTimes queue;
    std::string scheduler_name = "default-scheduler";
    int bind_workers = 8;
    std::uint64_t seed = 1;  // of the choice between nodes of equal sums, see node_scores.h
};

struct KubeSchedulerStats {
    std::uint64_t cycles = 0;
    std::uint64_t bound = 0;
    std::uint64_t bind_errors = 0;
    std::uint64_t extender_errors = 0;  // of filter and preempt
    std::uint64_t unschedulable = 0;
    std::uint64_t preemptions = 0;
    std::size_t waiting = 0;  // pods in the queue right now
};

class KubeScheduler {
  public:
    static Result<std::unique_ptr<KubeScheduler>> start(
        k8s::Client client, KubeSchedulerOptions options
    );
    ~KubeScheduler();  // stop()
    KubeScheduler(const KubeScheduler&) = delete;
    KubeScheduler& operator=(const KubeScheduler&) = delete;

    void stop();
    bool synced() const;
    KubeSchedulerStats stats() const;

  private:
    class Impl;
    explicit KubeScheduler(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::sim
