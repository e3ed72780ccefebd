#include "k8s/codec.h"

#include "k8s/host_request.h"

namespace egpu::k8s {

namespace {

StringMap string_map(const json::value& object, std::initializer_list<std::string_view> path) {
    StringMap out;
    if (const auto* fields = json::get_object(object, path)) {
        for (const auto& [key, v] : *fields) {
            if (!v.is_string()) continue;
            const auto& text = v.get_string();
            out.emplace(std::string(key.data(), key.size()), std::string(text.data(), text.size()));
        }
    }
    return out;
}

std::string text_at(const json::value& object, std::initializer_list<std::string_view> path) {
    return std::string(json::get_string(object, path));
}

// From limits, or from requests when the limits have none (the API server copies limits to
// requests).
std::string resource_of(const json::value& container, std::string_view resource) {
    for (const char* list : {"limits", "requests"}) {
        if (const auto* v = json::find(container, {"resources", list, resource})) {
            std::string text = quantity_text(*v);
            if (!text.empty()) return text;
        }
    }
    return {};
}

Status read_containers(
    const json::value& pod,
    std::string_view field,
    bool init,
    std::vector<core::ContainerSpec>& into
) {
    const json::value* list = json::find(pod, {"spec", field});
    if (list == nullptr || list->is_null()) return ok_status();
    const auto bad = [&](std::string_view why) {
        return Error{ErrorCode::kInvalid, "spec." + std::string(field) + " " + std::string(why)};
    };
    const json::array* items = list->if_array();
    if (items == nullptr) return bad("is not a list");
    for (const json::value& item : *items) {
        if (!item.is_object()) return bad("has an entry that is no object");
        core::ContainerSpec& spec = into.emplace_back();
        spec.name = json::get_string(item, {"name"});
        if (spec.name.empty()) return bad("has a container without a name");
        if (init) {
            const bool sidecar = json::get_string(item, {"restartPolicy"}) == "Always";
            spec.kind = sidecar ? core::ContainerKind::kSidecar : core::ContainerKind::kInit;
        }
        spec.percent = resource_of(item, core::kResourcePercent);
        spec.whole = resource_of(item, core::kResourceWhole);
    }
    return ok_status();
}

std::string node_quantity(
    const json::value& node, std::string_view list, std::string_view resource
) {
    const json::value* v = json::find(node, {"status", list, resource});
    return v == nullptr ? std::string() : quantity_text(*v);
}

bool letter_or_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_dns_subdomain(std::string_view text) {
    if (text.empty() || text.size() > 253) return false;
    char before = '.';
    for (const char c : text) {
        const bool lower = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
        if (!lower && c != '-' && c != '.') return false;
        if ((c == '.' || c == '-') && before == '.') return false;
        if (c == '.' && before == '-') return false;
        before = c;
    }
    return before != '.' && before != '-';
}

}  // namespace

Result<ObjectMeta> meta_from_json(const json::value& object) {
    if (!object.is_object()) return Error{ErrorCode::kInvalid, "is no JSON object"};
    ObjectMeta meta;
    meta.name = text_at(object, {"metadata", "name"});
    if (meta.name.empty()) return Error{ErrorCode::kInvalid, "metadata.name is missing"};
    meta.ns = text_at(object, {"metadata", "namespace"});
    meta.uid = text_at(object, {"metadata", "uid"});
    meta.resource_version = text_at(object, {"metadata", "resourceVersion"});
    meta.annotations = string_map(object, {"metadata", "annotations"});
    meta.labels = string_map(object, {"metadata", "labels"});
    meta.creation = text_at(object, {"metadata", "creationTimestamp"});
    meta.deleting = !json::get_string(object, {"metadata", "deletionTimestamp"}).empty();
    return meta;
}

Result<Pod> pod_from_json(const json::value& object) {
    Pod pod;
    auto meta = meta_from_json(object);
    if (!meta) return meta.error().wrap("pod");
    pod.meta = std::move(*meta);
    pod.node_name = text_at(object, {"spec", "nodeName"});
    pod.phase = text_at(object, {"status", "phase"});
    pod.scheduler_name = text_at(object, {"spec", "schedulerName"});
    pod.priority = json::get_int(object, {"spec", "priority"}).value_or(0);
    if (const auto at = pod.meta.annotations.find("kubernetes.io/config.hash");
        at != pod.meta.annotations.end()) {
        pod.static_hash = at->second;
    }
    for (const auto& [field, init] : {std::pair("initContainers", true), {"containers", false}}) {
        if (auto read = read_containers(object, field, init, pod.containers); !read) {
            return read.error().wrap("pod " + pod.meta.key());
        }
    }
    pod.host = host_request(object);
    return pod;
}

Result<Node> node_from_json(const json::value& object) {
    Node node;
    auto meta = meta_from_json(object);
    if (!meta) return meta.error().wrap("node");
    node.meta = std::move(*meta);
    node.percent_capacity = node_quantity(object, "capacity", core::kResourcePercent);
    node.percent_allocatable = node_quantity(object, "allocatable", core::kResourcePercent);
    node.whole_capacity = node_quantity(object, "capacity", core::kResourceWhole);
    node.whole_allocatable = node_quantity(object, "allocatable", core::kResourceWhole);
    node.cpu_allocatable = node_quantity(object, "allocatable", "cpu");
    node.memory_allocatable = node_quantity(object, "allocatable", "memory");
    node.unschedulable = json::get_bool(object, {"spec", "unschedulable"});
    if (const auto* conditions = json::get_array(object, {"status", "conditions"})) {
        for (const json::value& condition : *conditions) {
            if (json::get_string(condition, {"type"}) == "Ready") {
                node.ready = json::get_string(condition, {"status"}) == "True";
            }
        }
    }
    return node;
}

std::string quantity_text(const json::value& v) {
    if (v.is_string()) return {v.get_string().data(), v.get_string().size()};
    if (v.is_number()) return json::to_text(v);
    return {};
}

bool is_qualified_name(std::string_view key) {
    const std::size_t slash = key.find('/');
    if (slash != std::string_view::npos) {
        if (!is_dns_subdomain(key.substr(0, slash))) return false;
        key.remove_prefix(slash + 1);
    }
    if (key.empty() || key.size() > 63) return false;
    if (!letter_or_digit(key.front()) || !letter_or_digit(key.back())) return false;
    for (const char c : key) {
        if (!letter_or_digit(c) && c != '-' && c != '_' && c != '.') return false;
    }
    return true;
}

}  // namespace egpu::k8s
