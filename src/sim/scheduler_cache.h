// The small kube-scheduler's picture of the cluster, with the pods it has assumed on a node before
// the API server confirmed them, and the choice of victims for preemption. Not thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/extender_caller.h"
#include "sim/scheduling_facts.h"

namespace egpu::sim {

// One scheduling cycle's view.
struct Snapshot {
    NodeList nodes;
    std::map<std::string, std::vector<std::shared_ptr<const SchedPod>>> pods;       // by node
    std::map<std::string, std::vector<std::shared_ptr<const SchedPod>>> nominated;  // by node

    // What the node's pods have requested, with the pods nominated to it that `pod` must respect.
    Amounts used(const std::string& node, const SchedPod& pod) const;
};

class SchedulerCache {
  public:
    // Each tells whether it is an event that may help waiting pods.
    bool upsert_node(SchedNode node);
    bool remove_node(const std::string& name);
    bool upsert_pod(SchedPod pod);
    bool remove_pod(const std::string& uid);

    void assume(const std::string& uid, const std::string& node);
    void forget(const std::string& uid);
    void nominate(const std::string& uid, const std::string& node);

    std::shared_ptr<const SchedPod> pod(const std::string& uid) const;
    // The pod's node, or the one it was assumed on; "" when neither.
    std::string node_of(const std::string& uid) const;
    std::string nominated_node(const std::string& uid) const;
    Snapshot snapshot() const;

  private:
    std::map<std::string, std::shared_ptr<const SchedNode>> nodes_;
    std::map<std::string, std::shared_ptr<const SchedPod>> pods_;
    std::map<std::string, std::string> assumed_;
    std::map<std::string, std::string> nominated_;
};

// The fewest, least important pods of each node whose end makes room for `pod` by its requests.
// Nodes where none is needed or none helps are missing, as in kube-scheduler's dry run.
Victims find_victims(
    const SchedPod& pod, const Snapshot& snapshot, const std::set<std::string>& candidates
);

// The extender's answer as pods: it may name any pod of the node, or leave nodes out. A pod that is
// not on the node is an error, and nobody is evicted anywhere: as in kube-scheduler (1.34).
Result<Victims> narrowed(
    const Victims& proposed,
    const std::map<std::string, std::vector<std::string>>& answer,
    const Snapshot& snapshot
);

// The node whose victims matter least: lowest highest priority, lowest sum, fewest.
std::optional<std::string> least_harm(const Victims& victims);

}  // namespace egpu::sim
