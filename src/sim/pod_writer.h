// What the small kube-scheduler writes to the API server: bindings, the PodScheduled condition,
// evictions, and the events that explain them. Thread-safe; each call has its own deadline.
//
// Contract: kube-scheduler's event reasons (Scheduled, FailedScheduling, Preempted) and texts.
#pragma once

#include <string>

#include "base/result.h"
#include "base/stop.h"
#include "k8s/client.h"
#include "k8s/events.h"
#include "sim/scheduling_facts.h"

namespace egpu::sim {

class PodWriter {
  public:
    PodWriter(k8s::Client client, StopToken stop);

    // The default binder, for pods that no extender binds.
    Status bind(const SchedPod& pod, const std::string& node);
    void scheduled(const SchedPod& pod, const std::string& node);
    // Event and condition; the condition only when it is news. `nominated`: "" or the node on which
    // room is being made.
    void not_scheduled(
        const SchedPod& pod,
        const std::string& reason,
        const std::string& text,
        const std::string& nominated
    );
    void evict(const SchedPod& victim, const SchedPod& by, const std::string& node);
    void stop() { events_.stop(Duration::zero()); }

  private:
    k8s::Call call() const;

    k8s::Client client_;
    const StopToken stop_;
    k8s::EventRecorder events_;
};

}  // namespace egpu::sim
