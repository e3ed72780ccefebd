// Pods and nodes as the scheduler's cache has them, for tests.
#pragma once

#include <memory>
#include <string>

#include "sim/scheduler_cache.h"

namespace egpu::sim {

inline SchedPod pod(
    const std::string& uid, int cards, int priority = 0, const std::string& node = ""
) {
    SchedPod out;
    out.uid = uid;
    out.ns = "ns";
    out.name = uid;
    out.node = node;
    out.priority = priority;
    out.requests["gpu"] = cards;
    out.object = std::make_shared<const json::value>(json::object{});
    return out;
}

inline SchedNode node(const std::string& name, int cards) {
    SchedNode out;
    out.name = name;
    out.allocatable = {{"gpu", cards}, {"pods", 100}};
    out.object = std::make_shared<const json::value>(json::object{});
    return out;
}

}  // namespace egpu::sim
