#include "scheduler/pod_facts.h"

#include "core/request_by_quantity.h"
#include "k8s/placement_annotations.h"

namespace egpu::scheduler {

PodFacts read_facts(const k8s::Pod& pod) {
    PodFacts facts;
    facts.uid = pod.meta.uid;
    facts.ns = pod.meta.ns;
    facts.name = pod.meta.name;
    facts.node = pod.node_name;
    facts.priority = pod.priority;
    facts.terminal = pod.terminal();
    facts.deleting = pod.meta.deleting;
    facts.annotations_size = k8s::annotations_size(pod.meta.annotations);
    auto request = core::parse_request(pod.containers, pod.meta.annotations);
    if (request) {
        facts.request = std::move(*request);
    } else {
        facts.request_error = request.error().message;
        auto plain = core::parse_request(pod.containers, {});
        facts.request = plain ? std::move(*plain) : core::request_by_quantity(pod.containers);
    }
    facts.request.host = pod.host;
    if (facts.node.empty() || facts.request.empty()) return facts;
    auto placement = k8s::from_annotations(pod.meta.annotations, facts.request);
    if (placement) {
        facts.placement = std::move(*placement);
    } else {
        facts.placement_error = placement.error().message;
    }
    return facts;
}

}  // namespace egpu::scheduler
