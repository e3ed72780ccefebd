// The cluster that the load generator makes up: nodes with cards, and pods with the mix of sizes of
// a production cluster (mostly shares and single cards, some with several, some without). Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/random.h"

namespace egpu::sim::load {

// Node i, as big on the wire as a real one when `images` (4.6 KB) instead of 1.3 KB.
json::value node_object(int i, int cards, bool images);
std::string node_name(int i);

struct PodPlan {
    std::string name;
    int percent = 0;  // nano-gpu/gpu-percent: 1..100, or N*100
    int cpu_milli = 0;
    int memory_mib = 0;
};

PodPlan draw_pod(std::uint64_t number, Random& random);
json::value pod_object(const PodPlan& plan);

}  // namespace egpu::sim::load
