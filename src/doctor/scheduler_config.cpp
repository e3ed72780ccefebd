#include "doctor/scheduler_config.h"

#include "base/json.h"
#include "doctor/config_text.h"

namespace egpu::doctor {
namespace {

bool manages(const json::value& extender, std::string_view resource) {
    const json::array* managed = json::get_array(extender, {"managedResources"});
    if (managed == nullptr) return false;
    for (const json::value& each : *managed) {
        if (json::get_string(each, {"name"}) == resource) return true;
    }
    return false;
}

void look_at(const json::value& extender, std::vector<ExtenderFault>& out) {
    const auto has = [&extender](const char* key) {
        return !json::get_string(extender, {key}).empty();
    };
    if (!has("filterVerb") || !has("bindVerb")) {
        out.push_back(
            {"extender-verbs",
             true,
             "filterVerb or bindVerb is missing",
             "placements are not chosen or not written: pods start without a known card",
             "filterVerb: filter\nprioritizeVerb: priorities\nbindVerb: bind\npreemptVerb: preempt"}
        );
    }
    if (json::get_bool(extender, {"ignorable"})) {
        out.push_back(
            {"extender-ignorable",
             true,
             "ignorable: true",
             "from 1.30 on pods are bound without a card while the extender is away",
             "ignorable: false"}
        );
    }
    if (has("prioritizeVerb") && json::get_int(extender, {"weight"}).value_or(0) <= 0) {
        out.push_back(
            {"extender-weight",
             true,
             "prioritizeVerb without a weight above 0",
             "kube-scheduler does not start",
             "weight: 10"}
        );
    }
    if (!json::get_bool(extender, {"nodeCacheCapable"})) {
        out.push_back(
            {"extender-node-cache",
             false,
             "nodeCacheCapable is not true",
             "every call carries all Node objects: slow in a large cluster",
             "nodeCacheCapable: true"}
        );
    }
    if (!manages(extender, "nvidia.com/gpu")) {
        out.push_back(
            {"extender-whole-unmanaged",
             false,
             "managedResources does not have nvidia.com/gpu",
             "pods that ask for whole cards are placed without edge-gpu: two of them may race for "
             "a card that carries shares",
             "managedResources: add {name: nvidia.com/gpu, ignoredByScheduler: false}"}
        );
    }
}

}  // namespace

std::vector<ExtenderFault> extender_faults(std::string_view text) {
    std::vector<ExtenderFault> out;
    const auto parsed = parse_yaml(text);
    if (!parsed) {
        out.push_back(
            {"extender-config-broken",
             true,
             parsed.error().message,
             "kube-scheduler does not start with this file",
             "correct the line"}
        );
        return out;
    }
    const json::array* extenders = json::get_array(*parsed, {"extenders"});
    const json::value* ours = nullptr;
    for (std::size_t i = 0; extenders != nullptr && i < extenders->size(); ++i) {
        if (manages((*extenders)[i], "nano-gpu/gpu-percent")) ours = &(*extenders)[i];
    }
    if (ours == nullptr) {
        out.push_back(
            {"extender-not-configured",
             false,
             "no extender that manages nano-gpu/gpu-percent",
             "kube-scheduler does not ask edge-gpu: pods that ask for a share land on nodes whose "
             "cards have no room for it",
             "add the extender of docs/operations.md"}
        );
        return out;
    }
    look_at(*ours, out);
    return out;
}

}  // namespace egpu::doctor
