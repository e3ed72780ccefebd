#include "sim/scheduling_facts.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/quantity.h"
#include "k8s/codec.h"

namespace egpu::sim {

namespace {

std::map<std::string, std::string> string_map(const json::object* object) {
    std::map<std::string, std::string> out;
    if (object == nullptr) return out;
    for (const auto& [key, value] : *object) {
        if (value.is_string()) out[std::string(key)] = std::string_view(value.as_string());
    }
    return out;
}

Result<Amounts> amounts_of(const json::object* list) {
    Amounts out;
    if (list == nullptr) return out;
    for (const auto& [key, value] : *list) {
        const std::string resource(key);
        EG_TRY(out[resource], amount_of(resource, k8s::quantity_text(value)));
    }
    return out;
}

// limits stand in for requests that are missing, as the API server defaults them.
Result<Amounts> container_requests(const json::value& container) {
    EG_TRY(Amounts out, amounts_of(json::get_object(container, {"resources", "limits"})));
    EG_TRY(Amounts asked, amounts_of(json::get_object(container, {"resources", "requests"})));
    for (const auto& [resource, amount] : asked) out[resource] = amount;
    return out;
}

void add(Amounts& to, const Amounts& more) {
    for (const auto& [resource, amount] : more) to[resource] += amount;
}

void raise(Amounts& to, const Amounts& least) {
    for (const auto& [resource, amount] : least) to[resource] = std::max(to[resource], amount);
}

// Containers and sidecars together; each plain init container together with the sidecars before it.
Result<Amounts> pod_requests(const json::value& pod) {
    Amounts sidecars;
    Amounts peak;
    if (const auto* list = json::get_array(pod, {"spec", "initContainers"})) {
        for (const json::value& container : *list) {
            EG_TRY(const Amounts own, container_requests(container));
            if (json::get_string(container, {"restartPolicy"}) == "Always") {
                add(sidecars, own);
                raise(peak, sidecars);
            } else {
                Amounts together = sidecars;
                add(together, own);
                raise(peak, together);
            }
        }
    }
    Amounts running = sidecars;
    if (const auto* list = json::get_array(pod, {"spec", "containers"})) {
        for (const json::value& container : *list) {
            EG_TRY(const Amounts own, container_requests(container));
            add(running, own);
        }
    }
    raise(running, peak);
    std::erase_if(running, [](const auto& item) { return item.second == 0; });
    return running;
}

std::vector<Toleration> tolerations_of(const json::value& pod) {
    std::vector<Toleration> out;
    if (const auto* list = json::get_array(pod, {"spec", "tolerations"})) {
        for (const json::value& t : *list) {
            out.push_back(
                {std::string(json::get_string(t, {"key"})),
                 std::string(json::get_string(t, {"operator"})),
                 std::string(json::get_string(t, {"value"})),
                 std::string(json::get_string(t, {"effect"}))}
            );
        }
    }
    return out;
}

bool tolerates(const SchedPod& pod, const Taint& taint) {
    return std::any_of(pod.tolerations.begin(), pod.tolerations.end(), [&](const Toleration& t) {
        if (!t.effect.empty() && t.effect != taint.effect) return false;
        if (t.op == "Exists") return t.key.empty() || t.key == taint.key;
        return t.key == taint.key && t.value == taint.value;
    });
}

std::int64_t priority_of(const json::value& pod) {
    if (const auto given = json::get_int(pod, {"spec", "priority"})) return *given;
    const std::string_view name = json::get_string(pod, {"spec", "priorityClassName"});
    if (name == "system-node-critical") return 2'000'001'000;
    if (name == "system-cluster-critical") return 2'000'000'000;
    return 0;
}

const json::value* condition(const json::value& pod, std::string_view type) {
    const auto* list = json::get_array(pod, {"status", "conditions"});
    if (list == nullptr) return nullptr;
    const auto found = std::find_if(list->begin(), list->end(), [&](const json::value& c) {
        return json::get_string(c, {"type"}) == type;
    });
    return found == list->end() ? nullptr : &*found;
}

std::string why_not_scheduled(const json::value& pod) {
    const json::value* c = condition(pod, "PodScheduled");
    if (c == nullptr || json::get_string(*c, {"status"}) != "False") return "";
    return std::string(json::get_string(*c, {"reason"})) + " " +
           std::string(json::get_string(*c, {"message"}));
}

bool is_preempted(const json::value& pod) {
    const json::value* c = condition(pod, "DisruptionTarget");
    return c != nullptr && json::get_string(*c, {"status"}) == "True" &&
           json::get_string(*c, {"reason"}) == "PreemptionByScheduler";
}

}  // namespace

Result<std::int64_t> amount_of(std::string_view resource, std::string_view quantity) {
    if (resource != "cpu") return core::parse_quantity(quantity);
    const bool milli = quantity.ends_with('m');
    const std::string_view digits = milli ? quantity.substr(0, quantity.size() - 1) : quantity;
    double number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() ||
        !(std::abs(number) < 1e12)) {
        EG_TRY(const std::int64_t whole, core::parse_quantity(quantity));
        return whole * 1000;
    }
    return std::llround(std::ceil(milli ? number : number * 1000));
}

Result<SchedPod> sched_pod(const json::value& pod) {
    SchedPod out;
    out.uid = json::get_string(pod, {"metadata", "uid"});
    out.ns = json::get_string(pod, {"metadata", "namespace"});
    out.name = json::get_string(pod, {"metadata", "name"});
    if (out.uid.empty() || out.name.empty()) {
        return Error{ErrorCode::kInvalid, "pod without metadata.uid or metadata.name"};
    }
    out.node = json::get_string(pod, {"spec", "nodeName"});
    out.nominated_node = json::get_string(pod, {"status", "nominatedNodeName"});
    out.scheduler_name = json::get_string(pod, {"spec", "schedulerName"});
    out.priority = priority_of(pod);
    out.preempts = json::get_string(pod, {"spec", "preemptionPolicy"}) != "Never";
    out.deleting = !json::get_string(pod, {"metadata", "deletionTimestamp"}).empty();
    const auto* gates = json::get_array(pod, {"spec", "schedulingGates"});
    out.gated = gates != nullptr && !gates->empty();
    auto requests = pod_requests(pod);
    if (!requests) return requests.error().wrap("pod " + out.key());
    out.requests = std::move(*requests);
    out.node_selector = string_map(json::get_object(pod, {"spec", "nodeSelector"}));
    out.tolerations = tolerations_of(pod);
    out.condition = why_not_scheduled(pod);
    out.preempted = is_preempted(pod);
    json::value sent = pod;
    sent.as_object().erase("kind");
    sent.as_object().erase("apiVersion");
    if (auto* meta = json::find(sent, {"metadata"}); meta != nullptr && meta->is_object()) {
        meta->as_object().erase("managedFields");
    }
    out.object = std::make_shared<const json::value>(std::move(sent));
    return out;
}

Result<SchedNode> sched_node(const json::value& node) {
    SchedNode out;
    out.name = json::get_string(node, {"metadata", "name"});
    if (out.name.empty()) return Error{ErrorCode::kInvalid, "node without metadata.name"};
    EG_TRY(out.allocatable, amounts_of(json::get_object(node, {"status", "allocatable"})));
    out.labels = string_map(json::get_object(node, {"metadata", "labels"}));
    out.annotations = string_map(json::get_object(node, {"metadata", "annotations"}));
    out.unschedulable = json::get_bool(node, {"spec", "unschedulable"});
    if (const auto* list = json::get_array(node, {"spec", "taints"})) {
        for (const json::value& t : *list) {
            out.taints.push_back(
                {std::string(json::get_string(t, {"key"})),
                 std::string(json::get_string(t, {"value"})),
                 std::string(json::get_string(t, {"effect"}))}
            );
        }
    }
    json::value sent = node;
    sent.as_object().erase("kind");
    sent.as_object().erase("apiVersion");
    out.object = std::make_shared<const json::value>(std::move(sent));
    return out;
}

bool same_for_scheduling(const SchedNode& a, const SchedNode& b) {
    return a.allocatable == b.allocatable && a.labels == b.labels &&
           a.annotations == b.annotations && a.taints == b.taints &&
           a.unschedulable == b.unschedulable;
}

void add_to(Amounts& used, const SchedPod& pod) {
    add(used, pod.requests);
    used["pods"] += 1;
}

Misfit why_not(const SchedPod& pod, const SchedNode& node, const Amounts& used) {
    if (node.unschedulable) return {"node(s) were unschedulable", true};
    for (const Taint& taint : node.taints) {
        if (taint.effect == "PreferNoSchedule" || tolerates(pod, taint)) continue;
        return {"node(s) had untolerated taint {" + taint.key + ": " + taint.value + "}", true};
    }
    for (const auto& [key, value] : pod.node_selector) {
        const auto label = node.labels.find(key);
        if (label == node.labels.end() || label->second != value) {
            return {"node(s) didn't match Pod's node affinity/selector", true};
        }
    }
    const auto amount = [](const Amounts& from, const std::string& resource) {
        const auto found = from.find(resource);
        return found == from.end() ? std::int64_t{0} : found->second;
    };
    if (amount(used, "pods") + 1 > amount(node.allocatable, "pods"))
        return {"Too many pods", false};
    for (const auto& [resource, wanted] : pod.requests) {
        const std::int64_t total = amount(node.allocatable, resource);
        if (amount(used, resource) + wanted <= total) continue;
        return {"Insufficient " + resource, wanted > total};
    }
    return {};
}

std::string unavailable_text(
    std::size_t nodes,
    const std::map<std::string, std::string>& reasons,
    const std::string& otherwise
) {
    if (nodes == 0) return "no nodes available to schedule pods";
    std::map<std::string, std::size_t> counts;
    for (const auto& [node, reason] : reasons) ++counts[reason];
    if (!otherwise.empty() && reasons.size() < nodes) counts[otherwise] += nodes - reasons.size();
    std::vector<std::string> parts;
    for (const auto& [reason, count] : counts)
        parts.push_back(std::to_string(count) + " " + reason);
    std::sort(parts.begin(), parts.end());
    std::string out = "0/" + std::to_string(nodes) + " nodes are available:";
    for (std::size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? " " : ", ") + parts[i];
    return parts.empty() ? out : out + ".";
}

}  // namespace egpu::sim
