// Preemption: which of kube-scheduler's candidate nodes really come free for the pod, card by card.
//
// kube-scheduler proposes victims by sums (its dry run does not ask the extender), so evicting them
// may free 100 percent spread over two cards. Where they free the cards, they are kept as they are:
// kube-scheduler has spared every pod it could. Where they do not, pods of lower priority on the
// same node that hold the cards are added, lowest priority first; then every pod that holds cards
// and is not needed is spared, the added ones first, proposed ones after them. A proposed pod
// without cards stays, it was proposed for something else. A proposed pod with cards that was
// needed for CPU or memory, too, may be spared: kube-scheduler then proposes again. Where even
// that does not help, the node is dropped. Added pods count as PodDisruptionBudget violations,
// because their budgets are not known here: nodes that need none are preferred. Thread-safe: asks
// State only.
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
