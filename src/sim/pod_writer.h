// What the small kube-scheduler writes to the API server: bindings, the PodScheduled condition,
// nominations, evictions, and the events that explain them. Thread-safe; each call has its own
// deadline.
//
// Contract: kube-scheduler's event reasons (Scheduled, FailedScheduling, Preempted) and texts.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/stop.h"
#include "k8s/client.h"
#include "k8s/events.h"
#include "sim/scheduling_facts.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

class PodWriter {
  public:
    using Pod = std::shared_ptr<const SchedPod>;

    PodWriter(k8s::Client client, StopToken stop, testing::Dialect dialect);

    // The default binder, for pods that no extender binds.
    Status bind(const SchedPod& pod, const std::string& node);
    void scheduled(const SchedPod& pod, const std::string& node);
    // Event and condition; the condition only when it is news. `nominated`: the node on which room
    // is being made, "" to take a nomination back, none to leave it.
    void not_scheduled(
        const SchedPod& pod,
        const std::string& reason,
        const std::string& text,
        const std::optional<std::string>& nominated
    );
    // 1.34 marks the victim with the DisruptionTarget condition first. The event comes when the
    // deletion was accepted. kNotFound: the victim is gone already.
    Status evict(const SchedPod& victim, const SchedPod& by, const std::string& node);
    void clear_nomination(const SchedPod& pod);
    void stop() { events_.stop(Duration::zero()); }

  private:
    k8s::Call call() const;
    Status patch_status(const SchedPod& pod, json::object status);

    k8s::Client client_;
    const StopToken stop_;
    const testing::Dialect dialect_;
    k8s::EventRecorder events_;
};

}  // namespace egpu::sim
