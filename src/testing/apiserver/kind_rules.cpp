#include "testing/apiserver/kind_rules.h"

#include <atomic>
#include <cctype>

#include "testing/apiserver/object.h"
#include "testing/apiserver/pod_rules.h"

namespace egpu::testing {
namespace {

// "2024-05-01T12:00:00" + `fraction` digits behind a point (-1: any number, 0 too) + "Z" or an
// offset.
bool go_time(std::string_view text, int fraction) {
    static constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd";
    if (text.size() < kShape.size() + 1) return false;
    for (std::size_t i = 0; i < kShape.size(); ++i) {
        const bool digit = std::isdigit(static_cast<unsigned char>(text[i])) != 0;
        if (kShape[i] == 'd' ? !digit : text[i] != kShape[i]) return false;
    }
    text.remove_prefix(kShape.size());
    int digits = 0;
    if (text.front() == '.') {
        text.remove_prefix(1);
        while (!text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0) {
            text.remove_prefix(1);
            ++digits;
        }
        if (digits == 0) return false;
    }
    if (fraction >= 0 && digits != fraction) return false;
    return text == "Z" || (text.size() == 6 && (text[0] == '+' || text[0] == '-'));
}

Verdict check_time(
    const Resource& resource,
    const json::value& doc,
    std::initializer_list<std::string_view> path,
    int fraction
) {
    const json::value* v = json::find(doc, path);
    if (v == nullptr || v->is_null()) return {};
    if (v->is_string() && go_time(v->get_string(), fraction)) return {};
    std::string field;
    for (const auto step : path) field += (field.empty() ? "" : ".") + std::string(step);
    return status::bad_request(
        std::string(resource.kind) + " cannot be decoded: " + field + ": parsing time " +
        json::to_text(*v) +
        (fraction == 6 ? " as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse"
                       : " as \"2006-01-02T15:04:05Z07:00\": cannot parse")
    );
}

Verdict check_int(
    const Resource& resource,
    const json::value& doc,
    std::initializer_list<std::string_view> path,
    std::string_view field
) {
    const json::value* v = json::find(doc, path);
    if (v == nullptr || v->is_null() || json::get_int(doc, path)) return {};
    return status::bad_request(
        std::string(resource.kind) + " cannot be decoded: " + std::string(field) +
        " must be an integer"
    );
}

void default_node(json::value& node) {
    const json::object* capacity = json::get_object(node, {"status", "capacity"});
    const json::value* allocatable = json::find(node, {"status", "allocatable"});
    if (capacity != nullptr && allocatable == nullptr) {
        const json::object copy = *capacity;
        child_object(node.get_object(), "status")["allocatable"] = copy;
    }
}

void default_service(json::value& service) {
    static std::atomic<int> counter{0};
    auto& spec = child_object(service.get_object(), "spec");
    if (!spec.contains("type")) spec["type"] = "ClusterIP";
    if (!spec.contains("sessionAffinity")) spec["sessionAffinity"] = "None";
    if (!spec.contains("clusterIP")) {
        const int next = ++counter % 60000;
        spec["clusterIP"] =
            "10.96." + std::to_string(next / 250) + "." + std::to_string(next % 250 + 1);
    }
    service.get_object()["status"] = {{"loadBalancer", json::object()}};
}

void default_namespace(json::value& doc) {
    const std::string name(json::get_string(doc, {"metadata", "name"}));
    set_string(child_object(metadata_of(doc), "labels"), "kubernetes.io/metadata.name", name);
    doc.get_object()["spec"] = {{"finalizers", json::array{"kubernetes"}}};
    doc.get_object()["status"] = {{"phase", "Active"}};
}

}  // namespace

Verdict check_kind_shape(const Resource& resource, const json::value& doc) {
    if (&resource == &pods()) return check_pod_shape(doc);
    if (resource.kind == "Lease") {
        for (const std::string_view field : {"acquireTime", "renewTime"}) {
            if (auto bad = check_time(resource, doc, {"spec", field}, 6)) return bad;
        }
        if (auto bad = check_int(resource, doc, {"spec", "leaseTransitions"}, "leaseTransitions"))
            return bad;
        return check_int(resource, doc, {"spec", "leaseDurationSeconds"}, "leaseDurationSeconds");
    }
    if (resource.kind == "Event") {
        for (const std::string_view field : {"firstTimestamp", "lastTimestamp"}) {
            if (auto bad = check_time(resource, doc, {field}, -1)) return bad;
        }
        if (auto bad = check_time(resource, doc, {"eventTime"}, 6)) return bad;
        return check_int(resource, doc, {"count"}, "count");
    }
    if (resource.kind == "Node") {
        for (const std::string_view map : {"capacity", "allocatable"}) {
            const json::value* v = json::find(doc, {"status", map});
            if (v != nullptr && !v->is_object())
                return status::bad_request("Node: status." + std::string(map) + " must be a map");
        }
    }
    return {};
}

void default_new(const Resource& resource, json::value& doc) {
    if (resource.kind == "Pod") default_new_pod(doc);
    if (resource.kind == "Node") default_node(doc);
    if (resource.kind == "Service") default_service(doc);
    if (resource.kind == "Namespace") default_namespace(doc);
    if (resource.kind == "Secret" && !doc.get_object().contains("type"))
        doc.get_object()["type"] = "Opaque";
}

void default_always(const Resource& resource, json::value& doc) {
    if (resource.kind == "Pod") default_pod_spec(doc);
    if (resource.kind != "Node") return;
    for (const std::string_view map : {"capacity", "allocatable"}) {
        json::value* v = json::find(doc, {"status", map});
        if (v != nullptr && v->is_object()) canonicalise_quantities(v->get_object());
    }
}

std::vector<StatusCause> validate_kind(const Resource& resource, const json::value& doc) {
    if (resource.kind == "Pod") return validate_pod(doc);
    std::vector<StatusCause> causes;
    if (resource.kind == "Lease") {
        const auto duration = json::get_int(doc, {"spec", "leaseDurationSeconds"});
        if (duration && *duration <= 0)
            causes.push_back(
                {"FieldValueInvalid",
                 "Invalid value: " + std::to_string(*duration) + ": must be greater than 0",
                 "spec.leaseDurationSeconds"}
            );
    }
    if (resource.kind == "Event") {
        // Events of cluster-scoped objects live in "default".
        std::string_view involved = json::get_string(doc, {"involvedObject", "namespace"});
        const auto own = json::get_string(doc, {"metadata", "namespace"});
        if (involved.empty()) involved = "default";
        if (involved != own)
            causes.push_back(
                {"FieldValueInvalid",
                 "Invalid value: \"" + std::string(involved) + "\": does not match event.namespace",
                 "involvedObject.namespace"}
            );
    }
    return causes;
}

}  // namespace egpu::testing
