// Which pods would have to go for another one, what the extender makes of that, and how
// kube-scheduler words it when nobody's going helps. Pure.
//
// Contract: kube-scheduler's DefaultPreemption of 1.21 and 1.34 (its "PostFilter" messages).
// Budgets (PodDisruptionBudget) and start times are not modelled.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/extender_caller.h"
#include "sim/scheduler_cache.h"
#include "sim/scheduling_facts.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

// "", or why `pod` may not preempt now: its policy, or victims of an earlier try that still end on
// the node it was nominated to. `unresolvable`: the nodes where no eviction helps.
std::string why_not_eligible(
    const SchedPod& pod,
    const Snapshot& snapshot,
    const std::string& nominated,
    const std::set<std::string>& unresolvable,
    testing::Dialect dialect
);

struct DryRun {
    // The fewest, least important pods of each node whose end makes room by the scheduler's own
    // checks; the most important one first. 1.21 lists a node without victims when it has room
    // already (only the extender said no).
    Victims candidates;
    std::map<std::string, std::string> reasons;  // of the nodes where that does not help
    std::vector<std::string> errors;             // 1.34: one for each node that has room already
};

// Tries all nodes but the `unresolvable` ones.
DryRun dry_run(
    const SchedPod& pod,
    const Snapshot& snapshot,
    const std::set<std::string>& unresolvable,
    testing::Dialect dialect
);

// What 1.34 says of a dry run that has no candidates: "0/2 nodes are available: …" or its errors.
std::string no_candidates_text(const DryRun& tried, std::size_t nodes);

// The extender's answer as pods: it may name any pod of the node, or leave nodes out. A pod that is
// not on the node is an error (1.34: a node without any, too), and nobody is evicted anywhere.
Result<Victims> narrowed(
    const Victims& proposed,
    const std::map<std::string, std::vector<std::string>>& answer,
    const Snapshot& snapshot,
    testing::Dialect dialect
);

// The node whose victims matter least: none at all, lowest highest priority, lowest sum, fewest.
std::optional<std::string> least_harm(const Victims& victims);

}  // namespace egpu::sim
