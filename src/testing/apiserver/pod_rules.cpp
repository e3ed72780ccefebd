#include "testing/apiserver/pod_rules.h"

#include <algorithm>
#include <set>

#include "testing/apiserver/metadata_rules.h"
#include "testing/apiserver/object.h"
#include "testing/apiserver/quantity.h"

namespace egpu::testing {
namespace {

constexpr std::string_view kLists[] = {"initContainers", "containers"};

void set_default(json::object& in, std::string_view key, const json::value& v) {
    if (!in.contains(key)) in[key] = v;
}

bool native(std::string_view resource) {
    return resource.find('/') == std::string_view::npos ||
           resource.find("kubernetes.io/") != std::string_view::npos;
}

std::string quoted(std::string_view s) {
    return "\"" + std::string(s) + "\"";
}

json::array* array_in(json::object& in, std::string_view key) {
    json::value* v = in.if_contains(key);
    return v != nullptr && v->is_array() ? &v->get_array() : nullptr;
}

void default_container(json::object& container) {
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    const json::value* image = container.if_contains("image");
    if (image != nullptr && image->is_string()) {
        const std::string_view text = image->get_string();
        const std::string_view last = text.substr(text.rfind('/') + 1);
        const bool latest =
            last.find_first_of(":@") == std::string_view::npos || last.ends_with(":latest");
        set_default(container, "imagePullPolicy", latest ? "Always" : "IfNotPresent");
    }
    if (json::array* ports = array_in(container, "ports")) {
        for (auto& port : *ports) {
            if (port.is_object()) set_default(port.get_object(), "protocol", "TCP");
        }
    }
    auto& resources = child_object(container, "resources");
    for (const std::string_view list : {"limits", "requests"}) {
        if (json::value* v = resources.if_contains(list)) canonicalise_quantities(v->get_object());
    }
    const json::value* limits = resources.if_contains("limits");
    if (limits == nullptr || limits->get_object().empty()) return;
    const json::object copy = limits->get_object();
    auto& requests = child_object(resources, "requests");
    for (const auto& limit : copy) set_default(requests, limit.key(), limit.value());
}

void add_toleration(json::object& spec, std::string_view key) {
    json::value& slot = spec["tolerations"];
    if (!slot.is_array()) slot.emplace_array();
    for (const auto& t : slot.get_array()) {
        const auto has = json::get_string(t, {"key"});
        if (has == key || (has.empty() && json::get_string(t, {"operator"}) == "Exists")) return;
    }
    slot.get_array().push_back(
        {{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}}
    );
}

// Guaranteed, Burstable or BestEffort, from cpu and memory of all containers.
std::string_view qos_class(const json::object& spec) {
    bool any = false;
    bool guaranteed = true;
    for (const auto list : kLists) {
        const json::value* containers = spec.if_contains(list);
        if (containers == nullptr) continue;
        for (const auto& c : containers->get_array()) {
            for (const std::string_view resource : {"cpu", "memory"}) {
                const json::value* request = json::find(c, {"resources", "requests", resource});
                const json::value* limit = json::find(c, {"resources", "limits", resource});
                if (request != nullptr || limit != nullptr) any = true;
                if (limit == nullptr || (request != nullptr && *request != *limit))
                    guaranteed = false;
            }
        }
    }
    if (!any) return "BestEffort";
    return guaranteed ? "Guaranteed" : "Burstable";
}

void check_resource(
    const json::value& container,
    std::string_view resource,
    const std::string& path,
    std::vector<StatusCause>& causes
) {
    const auto limit_text = json::get_string(container, {"resources", "limits", resource});
    const auto request_text = json::get_string(container, {"resources", "requests", resource});
    const auto complain = [&](std::string_view where, std::string_view value, std::string_view why
                          ) {
        causes.push_back(
            {"FieldValueInvalid",
             "Invalid value: " + quoted(value) + ": " + std::string(why),
             path + ".resources." + std::string(where) + "[" + std::string(resource) + "]"}
        );
    };
    const auto limit = parse_quantity(limit_text);
    const auto request = parse_quantity(request_text);
    if (!limit_text.empty() && limit && limit->negative())
        complain("limits", limit_text, "must be greater than or equal to 0");
    if (!request_text.empty() && request && request->negative())
        complain("requests", request_text, "must be greater than or equal to 0");
    if (native(resource)) {
        if (limit && request && request->nano > limit->nano)
            complain(
                "requests",
                request_text,
                "must be less than or equal to " + std::string(resource) + " limit of " +
                    std::string(limit_text)
            );
        return;
    }
    if (limit && !limit->integral()) complain("limits", limit_text, "must be an integer");
    if (request && !request->integral()) complain("requests", request_text, "must be an integer");
    if (!limit) {
        causes.push_back(
            {"FieldValueRequired",
             "Required value: Limit must be set for non overcommitable resources",
             path + ".resources.limits"}
        );
    } else if (request && *request != *limit) {
        complain(
            "requests",
            request_text,
            "must be equal to " + std::string(resource) + " limit of " + std::string(limit_text)
        );
    }
}

void check_container(
    const json::value& container, const std::string& path, std::vector<StatusCause>& causes
) {
    if (json::get_string(container, {"image"}).empty())
        causes.push_back({"FieldValueRequired", "Required value", path + ".image"});
    std::set<std::string> resources;
    for (const std::string_view list : {"limits", "requests"}) {
        const json::object* map = json::get_object(container, {"resources", list});
        if (map == nullptr) continue;
        for (const auto& entry : *map) resources.emplace(entry.key());
    }
    for (const auto& resource : resources) check_resource(container, resource, path, causes);
}

bool dns_label(std::string_view s) {
    const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !s.empty() && s.size() <= 63 && good(s.front()) && good(s.back()) &&
           std::all_of(s.begin(), s.end(), [&](char c) { return good(c) || c == '-'; });
}

// The spec with everything taken out that may change.
json::value frozen_spec(const json::value& pod) {
    const json::object* spec = json::get_object(pod, {"spec"});
    if (spec == nullptr) return json::object();
    json::object copy = *spec;
    for (const std::string_view free :
         {"tolerations",
          "activeDeadlineSeconds",
          "schedulingGates",
          "terminationGracePeriodSeconds"})
        copy.erase(free);
    for (const auto list : kLists) {
        if (json::array* containers = array_in(copy, list)) {
            for (auto& c : *containers) {
                if (c.is_object()) c.get_object().erase("image");
            }
        }
    }
    return copy;
}

Verdict malformed(const std::string& field, std::string_view wanted) {
    return status::bad_request(
        "Pod in version \"v1\" cannot be handled as a Pod: " + field + " must be " +
        std::string(wanted)
    );
}

Verdict check_container_shape(const json::value& container, const std::string& path) {
    if (!container.is_object()) return malformed(path, "an object");
    for (const std::string_view field : {"name", "image", "imagePullPolicy", "restartPolicy"}) {
        const json::value* v = json::find(container, {field});
        if (v != nullptr && !v->is_string())
            return malformed(path + "." + std::string(field), "a string");
    }
    const json::value* resources = json::find(container, {"resources"});
    if (resources == nullptr) return {};
    if (!resources->is_object()) return malformed(path + ".resources", "an object");
    for (const std::string_view list : {"limits", "requests"}) {
        const json::value* map = json::find(*resources, {list});
        if (map == nullptr) continue;
        const std::string where = path + ".resources." + std::string(list);
        if (!map->is_object()) return malformed(where, "a map of quantities");
        for (const auto& entry : map->get_object()) {
            const auto& v = entry.value();
            const bool fine =
                v.is_string() ? parse_quantity(v.get_string()).has_value() : v.is_number();
            if (!fine)
                return malformed(
                    where + "[" + quoted(entry.key()) + "]", "a quantity such as 1, 500m or 2Gi"
                );
        }
    }
    return {};
}

}  // namespace

void canonicalise_quantities(json::object& resources) {
    for (auto& entry : resources) {
        auto& v = entry.value();
        if (v.is_number()) v = json::to_text(v);
        if (v.is_string()) v = canonical_quantity(v.get_string());
    }
}

Verdict check_pod_shape(const json::value& pod) {
    for (const auto list : kLists) {
        const json::value* containers = json::find(pod, {"spec", list});
        if (containers == nullptr) continue;
        const std::string field = "spec." + std::string(list);
        if (!containers->is_array()) return malformed(field, "an array");
        std::size_t index = 0;
        for (const auto& c : containers->get_array()) {
            if (auto bad = check_container_shape(c, field + "[" + std::to_string(index++) + "]"))
                return bad;
        }
    }
    for (const std::string_view field : {"nodeName", "restartPolicy", "schedulerName"}) {
        const json::value* v = json::find(pod, {"spec", field});
        if (v != nullptr && !v->is_string())
            return malformed("spec." + std::string(field), "a string");
    }
    return {};
}

void default_pod_spec(json::value& pod) {
    auto& spec = child_object(pod.get_object(), "spec");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "securityContext", json::object());
    set_default(spec, "enableServiceLinks", true);
    for (const auto list : kLists) {
        if (json::array* containers = array_in(spec, list)) {
            for (auto& c : *containers) default_container(c.get_object());
        }
    }
}

void default_new_pod(json::value& pod) {
    auto& spec = child_object(pod.get_object(), "spec");
    set_default(spec, "serviceAccountName", "default");
    set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
    set_default(spec, "priority", 0);
    add_toleration(spec, "node.kubernetes.io/not-ready");
    add_toleration(spec, "node.kubernetes.io/unreachable");
    default_pod_spec(pod);
    json::object status;
    status["phase"] = "Pending";
    status["qosClass"] = qos_class(spec);
    pod.get_object()["status"] = std::move(status);
}

std::vector<StatusCause> validate_pod(const json::value& pod) {
    std::vector<StatusCause> causes;
    const json::array* apps = json::get_array(pod, {"spec", "containers"});
    if (apps == nullptr || apps->empty())
        causes.push_back({"FieldValueRequired", "Required value", "spec.containers"});
    std::set<std::string_view> names;
    for (const auto list : kLists) {
        const json::array* containers = json::get_array(pod, {"spec", list});
        if (containers == nullptr) continue;
        for (std::size_t i = 0; i < containers->size(); ++i) {
            const std::string path = "spec." + std::string(list) + "[" + std::to_string(i) + "]";
            const auto name = json::get_string((*containers)[i], {"name"});
            if (name.empty()) {
                causes.push_back({"FieldValueRequired", "Required value", path + ".name"});
            } else if (!dns_label(name)) {
                causes.push_back(
                    {"FieldValueInvalid",
                     "Invalid value: " + quoted(name) +
                         ": a lowercase RFC 1123 label must consist of lower case "
                         "alphanumeric characters or '-'",
                     path + ".name"}
                );
            } else if (!names.insert(name).second) {
                causes.push_back(
                    {"FieldValueDuplicate", "Duplicate value: " + quoted(name), path + ".name"}
                );
            }
            check_container((*containers)[i], path, causes);
        }
    }
    const auto restart = json::get_string(pod, {"spec", "restartPolicy"});
    if (restart != "Always" && restart != "OnFailure" && restart != "Never")
        causes.push_back(
            {"FieldValueNotSupported",
             "Unsupported value: " + quoted(restart) +
                 ": supported values: \"Always\", \"OnFailure\", \"Never\"",
             "spec.restartPolicy"}
        );
    return causes;
}

std::vector<StatusCause> validate_pod_update(const json::value& before, const json::value& after) {
    std::vector<StatusCause> causes;
    if (frozen_spec(before) != frozen_spec(after))
        causes.push_back(
            {"FieldValueForbidden",
             "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
             "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` "
             "(only "
             "additions to existing tolerations), `spec.terminationGracePeriodSeconds`",
             "spec"}
        );
    const json::array* had = json::get_array(before, {"spec", "tolerations"});
    const json::array* has = json::get_array(after, {"spec", "tolerations"});
    if (had != nullptr) {
        for (const auto& t : *had) {
            if (has != nullptr && std::find(has->begin(), has->end(), t) != has->end()) continue;
            causes.push_back(
                {"FieldValueForbidden",
                 "Forbidden: existing toleration can not be modified except its tolerationSeconds",
                 "spec.tolerations"}
            );
            break;
        }
    }
    return causes;
}

std::int64_t pod_grace_period(const json::value& pod, std::optional<std::int64_t> wanted) {
    const auto phase = json::get_string(pod, {"status", "phase"});
    if (json::get_string(pod, {"spec", "nodeName"}).empty() || phase == "Succeeded" ||
        phase == "Failed")
        return 0;
    if (wanted) return std::max<std::int64_t>(*wanted, *wanted < 0 ? 1 : 0);
    return json::get_int(pod, {"spec", "terminationGracePeriodSeconds"}).value_or(30);
}

void assign_pod(json::value& pod, std::string_view node, const json::object* annotations) {
    auto& fields = pod.get_object();
    set_string(child_object(fields, "spec"), "nodeName", node);
    if (annotations != nullptr && !annotations->empty()) {
        auto& own = child_object(metadata_of(pod), "annotations");
        for (const auto& a : *annotations) own[a.key()] = a.value();
    }
    json::value& conditions = child_object(fields, "status")["conditions"];
    if (!conditions.is_array()) conditions.emplace_array();
    const json::value scheduled = {
        {"type", "PodScheduled"},
        {"status", "True"},
        {"lastProbeTime", nullptr},
        {"lastTransitionTime", timestamp_now()}};
    for (auto& c : conditions.get_array()) {
        if (json::get_string(c, {"type"}) == "PodScheduled") {
            c = scheduled;
            return;
        }
    }
    conditions.get_array().push_back(scheduled);
}

}  // namespace egpu::testing
