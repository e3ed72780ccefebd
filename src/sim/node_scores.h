// What kube-scheduler's default plugins say about a node, as far as they tell nodes apart here:
// NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation, of CPU and memory, weight
// 1 each. Taints, affinity, spread and images are alike for all nodes of the simulated cluster.
// Pure.
//
// Contract: pkg/scheduler/framework/plugins/noderesources of Kubernetes 1.34. An extender's score
// counts beside this sum with 10 times its weight.
#pragma once

#include <cstdint>

#include "sim/scheduling_facts.h"

namespace egpu::sim {

// 0..200. `used`: what the node's pods have requested.
std::int64_t plugins_score(const SchedPod& pod, const SchedNode& node, const Amounts& used);

}  // namespace egpu::sim
