// PodFacts: all that the scheduler keeps of a pod. Pure. The pod's annotations are written by
// whoever made it: nothing in them is believed before it was compared with the request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/placement.h"
#include "core/request.h"
#include "k8s/objects.h"

namespace egpu::scheduler {

struct PodFacts {
    std::string uid;
    std::string ns;
    std::string name;
    std::string node;  // "" while unassigned
    std::int64_t priority = 0;
    bool terminal = false;             // Succeeded or Failed: holds nothing any more
    bool deleting = false;             // still holds its share
    core::PodRequest request;          // empty: asks for no GPU
    std::string request_error;         // not "": why the request is refused
    std::size_t annotations_size = 0;  // k8s::annotations_size() of all that it carries
    std::optional<core::Placement> placement;
    std::string placement_error;  // not "": why the placement in the annotations is not believed

    std::string key() const { return ns + "/" + name; }
    bool asks_for_gpu() const { return !request.empty() || !request_error.empty(); }
};

// A pod whose request is refused but which runs anyway (bound past the extender) is accounted for
// by its quantities alone: wrong annotations are ignored, shares above one card are rounded up to
// whole cards.
PodFacts read_facts(const k8s::Pod& pod);

}  // namespace egpu::scheduler
