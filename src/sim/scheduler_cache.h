// The small kube-scheduler's picture of the cluster, with the pods it has assumed on a node before
// the API server confirmed them. Not thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

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
    // Of that, what the nominated pods will need.
    Amounts promised(const std::string& node, const SchedPod& pod) const;
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

}  // namespace egpu::sim
