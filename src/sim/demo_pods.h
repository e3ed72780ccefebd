// The pods of the demo and what has to become of each: the two of the guide that users of
// nvidia.com/gpu and of nano-gpu have today, and one for every other way to ask.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "sim/audit.h"

namespace egpu::sim {

// Where a node of the demo stands: "edge", "factory" or "data-centre".
inline constexpr const char* kLabelSite = "demo.edge-gpu.io/site";

struct DemoPod {
    std::string name;
    std::string about;  // one line for people
    json::value manifest;
    int wave = 0;  // pods of a later wave are applied when the earlier ones are as expected
    // "" when the pod is as it must be, otherwise what is wrong (or not there yet).
    std::function<std::string(const PodView& pod, const ClusterView& view)> check;
};

std::vector<DemoPod> demo_pods();

}  // namespace egpu::sim
