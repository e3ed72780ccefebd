#include "scheduler/pod_facts.h"

#include <algorithm>

#include "core/card.h"
#include "core/quantity.h"
#include "k8s/placement_annotations.h"

namespace egpu::scheduler {
namespace {

constexpr std::int64_t kMostCards = 1024;

core::PodRequest request_by_quantity(const k8s::Pod& pod) {
    core::PodRequest request;
    const auto amount = [](const std::string& text) -> std::int64_t {
        if (text.empty()) return 0;
        const auto parsed = core::parse_quantity(text);
        return parsed ? std::clamp<std::int64_t>(*parsed, 0, kMostCards * core::kCardUnits) : 0;
    };
    for (const core::ContainerSpec& spec : pod.containers) {
        const std::int64_t percent = amount(spec.percent);
        const std::int64_t whole = std::min(amount(spec.whole), kMostCards);
        core::ContainerRequest wanted;
        wanted.name = spec.name;
        wanted.kind = spec.kind;
        if (whole > 0) {
            wanted.resource = core::kResourceWhole;
            wanted.cards = static_cast<int>(whole);
            wanted.percent = core::kCardUnits;
            wanted.whole = true;
        } else if (percent > 0 && percent < core::kCardUnits) {
            wanted.percent = static_cast<int>(percent);
        } else if (percent > 0) {
            wanted.cards = static_cast<int>((percent + core::kCardUnits - 1) / core::kCardUnits);
            wanted.percent = core::kCardUnits;
            wanted.whole = true;
        } else {
            continue;
        }
        request.containers.push_back(std::move(wanted));
    }
    return request;
}

}  // namespace

PodFacts read_facts(const k8s::Pod& pod) {
    PodFacts facts;
    facts.uid = pod.meta.uid;
    facts.ns = pod.meta.ns;
    facts.name = pod.meta.name;
    facts.node = pod.node_name;
    facts.priority = pod.priority;
    facts.terminal = pod.terminal();
    facts.deleting = pod.meta.deleting;
    auto request = core::parse_request(pod.containers, pod.meta.annotations);
    if (request) {
        facts.request = std::move(*request);
    } else {
        facts.request_error = request.error().message;
        auto plain = core::parse_request(pod.containers, {});
        facts.request = plain ? std::move(*plain) : request_by_quantity(pod);
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
