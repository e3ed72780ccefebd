// Preemption: which of kube-scheduler's candidate nodes really come free for the pod, card by card.
//
// kube-scheduler proposes victims by sums (its dry run does not ask the extender), so evicting them
// may free 100 percent spread over two cards. Each proposed victim is needed for some resource of
// some plugin (kube-scheduler has already spared every pod it could), so none is taken off the
// list. Where they free no card, pods of lower priority on the same node that hold the cards are
// added, lowest priority first and as few as possible; where even that does not help, the node is
// dropped. Added pods count as PodDisruptionBudget violations, because their budgets are not known
// here: nodes that need none are preferred. Thread-safe: asks State only.
#pragma once

#include <vector>

#include "k8s/extender.h"
#include "scheduler/pod_facts.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

// The answer for each node that remains, in the order of `candidates`.
std::vector<k8s::ExtenderVictims> choose_victims(
    const State& state, const PodFacts& pod, const std::vector<k8s::ExtenderVictims>& candidates
);

}  // namespace egpu::scheduler
