// What the small kube-scheduler knows of pods and nodes, and its NodeResourcesFit, NodeName-,
// taint- and selector checks. Pure. Affinity, ports, volumes and topology spread are not modelled.
//
// Contract: kube-scheduler's default plugins and their event texts ("Insufficient cpu").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace egpu::sim {

// cpu in thousandths, everything else in its base unit; extended resources as counts.
using Amounts = std::map<std::string, std::int64_t>;

struct Toleration {
    std::string key;
    std::string op;  // "", "Equal" or "Exists"
    std::string value;
    std::string effect;  // "": all
};

struct Taint {
    std::string key;
    std::string value;
    std::string effect;

    bool operator==(const Taint&) const = default;
};

struct SchedPod {
    std::string uid;
    std::string ns;
    std::string name;
    std::string node;  // "" while unassigned
    std::string nominated_node;
    std::string scheduler_name;
    std::int64_t priority = 0;
    bool preempts = true;  // preemptionPolicy is not Never
    bool deleting = false;
    bool gated = false;      // has scheduling gates
    bool preempted = false;  // a scheduler has marked it as its victim (1.26 and later)
    Amounts requests;
    std::map<std::string, std::string> node_selector;
    std::vector<Toleration> tolerations;
    std::string condition;  // reason and message of PodScheduled=False, as last seen
    // As the extender gets it: without kind, apiVersion and managedFields.
    std::shared_ptr<const json::value> object;

    std::string key() const { return ns + "/" + name; }
};

struct SchedNode {
    std::string name;
    Amounts allocatable;
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> annotations;
    std::vector<Taint> taints;
    bool unschedulable = false;
    std::shared_ptr<const json::value> object;
};

Result<SchedPod> sched_pod(const json::value& pod);
Result<SchedNode> sched_node(const json::value& node);

// Whether a change of the node may help a pod that waits.
bool same_for_scheduling(const SchedNode& a, const SchedNode& b);

// "500m" and "0.5" -> 500 for cpu; quantities otherwise.
Result<std::int64_t> amount_of(std::string_view resource, std::string_view quantity);

struct Misfit {
    std::string reason;         // "" = fits
    bool unresolvable = false;  // no eviction can help
};

// `used`: what the pods of the node have requested, "pods" counted as one each.
Misfit why_not(const SchedPod& pod, const SchedNode& node, const Amounts& used);
void add_to(Amounts& used, const SchedPod& pod);

// "0/3 nodes are available: 1 Insufficient cpu, 2 no card with 60 percent free." Nodes without a
// reason count under `otherwise`, or not at all when that is "".
std::string unavailable_text(
    std::size_t nodes,
    const std::map<std::string, std::string>& reasons,
    const std::string& otherwise = ""
);

}  // namespace egpu::sim
