#include "inspect/gather.h"

#include <algorithm>
#include <chrono>

#include "core/quantity.h"
#include "core/request_by_quantity.h"
#include "gpu/cards_annotation.h"
#include "http/message.h"
#include "k8s/codec.h"
#include "k8s/placement_annotations.h"
#include "k8s/timestamp.h"

namespace egpu::inspect {
namespace {

constexpr std::string_view kLivePods = "status.phase!=Succeeded,status.phase!=Failed";
constexpr std::int64_t kMostCards = 1024;

// Allocatable units; the capacity where a node has no allocatable yet.
std::int64_t units(const std::string& allocatable, const std::string& capacity, std::int64_t most) {
    const auto parsed = core::parse_quantity(allocatable.empty() ? capacity : allocatable);
    return parsed ? std::clamp<std::int64_t>(*parsed, 0, most) : 0;
}

// kHostUnlimited where the node does not say.
core::HostAmounts host_of(const k8s::Node& node) {
    core::HostAmounts host{core::kHostUnlimited, core::kHostUnlimited};
    if (const auto cpu = core::parse_milli(node.cpu_allocatable); cpu && *cpu >= 0) {
        host.cpu_milli = *cpu;
    }
    if (const auto bytes = core::parse_quantity(node.memory_allocatable); bytes && *bytes >= 0) {
        host.memory_mib = *bytes >> 20;
    }
    return host;
}

// What makes the pod again when it is deleted; "" when nothing does.
std::string owner_of(const json::value& pod) {
    const json::array* owners = json::get_array(pod, {"metadata", "ownerReferences"});
    if (owners == nullptr) return "";
    for (const json::value& owner : *owners) {
        if (json::get_bool(owner, {"controller"}))
            return std::string(json::get_string(owner, {"kind"}));
    }
    return "";
}

Status read_list(
    const k8s::Client& client,
    std::string_view path,
    std::string_view field_selector,
    TimePoint deadline,
    Gathered& to,
    void (*add)(const json::value&, Gathered&)
) {
    std::string first = std::string(path) + "?limit=500";
    if (!field_selector.empty()) first += "&fieldSelector=" + http::percent_encode(field_selector);
    std::string page_path = first;
    for (;;) {
        const auto page = client.list(page_path, k8s::Call(deadline));
        if (!page)
            return page.error().wrap("reading " + std::string(path) + " from " + client.server());
        if (const json::array* items = json::get_array(*page, {"items"})) {
            for (const json::value& item : *items) add(item, to);
        }
        const std::string_view next = json::get_string(*page, {"metadata", "continue"});
        if (next.empty()) return ok_status();
        page_path = first + "&continue=" + http::percent_encode(next);
    }
}

}  // namespace

void add_node(const json::value& object, Gathered& to) {
    const auto node = k8s::node_from_json(object);
    if (!node) {
        to.notes.push_back("left out: " + node.error().message);
        return;
    }
    core::ClusterNode out;
    out.name = node->meta.name;
    out.ready = node->ready;
    out.schedulable = !node->unschedulable;
    core::NodeInventory& inventory = out.inventory;
    inventory.host = host_of(*node);
    inventory.percent_units =
        units(node->percent_allocatable, node->percent_capacity, kMostCards * core::kCardUnits);
    inventory.whole_units =
        units(node->whole_allocatable, node->whole_capacity, kMostCards * core::kCardUnits);
    const auto annotation = node->meta.annotations.find(std::string(gpu::kAnnotationCards));
    if (annotation != node->meta.annotations.end()) {
        auto cards = gpu::decode_cards(annotation->second);
        if (cards) {
            inventory.cards = std::move(*cards);
        } else {
            to.notes.push_back(
                "node " + out.name + ": " + cards.error().message +
                "; its allocatable units are counted"
            );
        }
    }
    to.snapshot.cluster.nodes.push_back(std::move(out));
}

void add_pod(const json::value& object, Gathered& to) {
    const auto pod = k8s::pod_from_json(object);
    if (!pod) {
        to.notes.push_back("left out: " + pod.error().message);
        return;
    }
    if (pod->terminal() || pod->meta.uid.empty()) return;
    core::ClusterPod out;
    out.id = {pod->meta.uid, pod->meta.ns, pod->meta.name};
    out.node = pod->node_name;
    out.phase = pod->phase;
    out.created = pod->meta.creation;
    out.deleting = pod->meta.deleting;
    out.priority = pod->priority;
    out.owner = owner_of(object);
    auto request = core::parse_request(pod->containers, pod->meta.annotations);
    if (!request) {
        to.notes.push_back("pod " + pod->meta.key() + ": " + request.error().message);
        request = core::parse_request(pod->containers, {});
    }
    // As the scheduler counts it.
    out.request = request ? std::move(*request) : core::request_by_quantity(pod->containers);
    out.request.host = pod->host;
    if (!out.node.empty() && !out.request.empty()) {
        auto placement = k8s::from_annotations(pod->meta.annotations, out.request);
        if (placement) {
            out.placement = std::move(*placement);
        } else {
            to.notes.push_back("pod " + pod->meta.key() + ": " + placement.error().message);
        }
    }
    to.snapshot.cluster.pods.push_back(std::move(out));
}

Result<Gathered> gather(const k8s::Client& client, TimePoint deadline) {
    Gathered out;
    out.snapshot.taken = k8s::timestamp(std::chrono::system_clock::now());
    EG_TRY_VOID(read_list(client, "/api/v1/nodes", "", deadline, out, add_node));
    EG_TRY_VOID(read_list(client, "/api/v1/pods", kLivePods, deadline, out, add_pod));
    return out;
}

}  // namespace egpu::inspect
