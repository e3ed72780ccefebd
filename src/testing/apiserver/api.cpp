#include "testing/apiserver/api.h"

#include "testing/apiserver/kind_rules.h"
#include "testing/apiserver/metadata_rules.h"
#include "testing/apiserver/patch.h"
#include "testing/apiserver/pod_rules.h"

namespace egpu::testing {
namespace {

// A doc that is not (yet) stored: the answer to a dry run.
ObjectPtr unstored(const Resource& resource, json::value doc) {
    return std::make_shared<const Object>(resource, std::move(doc), 0);
}

// What only the server sets comes from the current version.
void keep_server_fields(const json::value& current, json::value& next) {
    auto& metadata = metadata_of(next);
    const json::object* was = json::get_object(current, {"metadata"});
    for (const std::string_view field : {"deletionTimestamp", "deletionGracePeriodSeconds"}) {
        const json::value* v = was->if_contains(field);
        if (v != nullptr)
            metadata[field] = *v;
        else
            metadata.erase(field);
    }
    for (const std::string_view field : {"uid", "creationTimestamp"}) {
        const json::value* v = was->if_contains(field);
        if (v != nullptr && json::get_string(next, {"metadata", field}).empty())
            metadata[field] = *v;
    }
    metadata.erase("managedFields");
    metadata.erase("selfLink");
}

void copy_field(const json::value& from, json::value& to, std::string_view field) {
    if (const json::value* v = json::find(from, {field}))
        to.get_object()[field] = *v;
    else
        to.get_object().erase(field);
}

}  // namespace

Api::Api(ObjectStore& store, bool check_binding_uid)
    : store_(store), check_binding_uid_(check_binding_uid) {
    for (const std::string_view name : {"default", "kube-node-lease", "kube-public", "kube-system"})
        ensure_namespace(name);
}

void Api::ensure_namespace(std::string_view name) {
    if (store_.get(namespaces(), name) != nullptr) return;
    json::value doc = {{"metadata", {{"name", name}}}};
    static_cast<void>(create(namespaces(), "", std::move(doc)));
}

Outcome<ObjectPtr> Api::get(
    const Resource& resource, std::string_view name_space, std::string_view name
) const {
    ObjectPtr found = store_.get(resource, object_key(name_space, name));
    if (found == nullptr) return status::not_found(resource, name);
    return found;
}

Verdict Api::check_namespace(const Resource& resource, std::string_view name_space) const {
    if (!resource.namespaced) return {};
    const ObjectPtr found = store_.get(namespaces(), name_space);
    if (found == nullptr) return status::not_found(namespaces(), name_space);
    if (found->deleting())
        return status::of_code(
            403,
            "unable to create new content in namespace " + std::string(name_space) +
                " because it is being terminated"
        );
    return {};
}

Verdict Api::apply_priority_class(json::value& pod) const {
    auto& spec = child_object(pod.get_object(), "spec");
    const std::string name(json::get_string(pod, {"spec", "priorityClassName"}));
    if (name.empty()) return {};
    const Resource* classes = find_plural("priorityclasses");
    if (name == "system-node-critical" || name == "system-cluster-critical") {
        spec["priority"] = name == "system-node-critical" ? 2000001000 : 2000000000;
        return {};
    }
    const ObjectPtr found = store_.get(*classes, name);
    if (found == nullptr)
        return status::of_code(
            403,
            "pods \"" + std::string(json::get_string(pod, {"metadata", "name"})) +
                "\" is forbidden: no PriorityClass with name " + name + " was found"
        );
    spec["priority"] = json::get_int(found->doc(), {"value"}).value_or(0);
    const auto policy = json::get_string(found->doc(), {"preemptionPolicy"});
    if (!policy.empty()) set_string(spec, "preemptionPolicy", policy);
    return {};
}

// Everything a body goes through before it becomes a new object.
Verdict Api::prepare_new(const Resource& resource, json::value& doc) const {
    fill_new_metadata(doc);
    if (resource.kind == "Pod") {
        if (auto refused = apply_priority_class(doc)) return refused;
    }
    default_new(resource, doc);
    default_always(resource, doc);
    auto causes = check_metadata(resource, doc);
    for (auto& cause : validate_kind(resource, doc)) causes.push_back(std::move(cause));
    if (causes.empty()) return {};
    return status::invalid(
        resource, json::get_string(doc, {"metadata", "name"}), std::move(causes)
    );
}

Outcome<ObjectPtr> Api::create(
    const Resource& resource, std::string_view name_space, json::value body, bool dry_run
) {
    if (auto bad = normalise_shape(resource, body)) return *bad;
    if (auto bad = match_request(resource, name_space, "", body)) return *bad;
    if (auto bad = check_kind_shape(resource, body)) return *bad;
    if (auto missing = check_namespace(resource, name_space)) return *missing;
    if (!json::get_string(body, {"metadata", "resourceVersion"}).empty())
        return status::bad_request("resourceVersion should not be set on objects to be created");
    if (auto bad = prepare_new(resource, body)) return *bad;
    const std::string name(json::get_string(body, {"metadata", "name"}));
    if (dry_run) {
        if (store_.get(resource, object_key(name_space, name)) != nullptr)
            return status::already_exists(resource, name);
        return unstored(resource, std::move(body));
    }
    body.get_object().erase("kind");
    body.get_object().erase("apiVersion");
    auto written = store_.create(resource, std::move(body));
    if (written.object == nullptr) return status::already_exists(resource, name);
    return std::move(written.object);
}

Outcome<ObjectPtr> Api::modify(
    const Resource& resource,
    std::string_view key,
    std::string_view name,
    const Change& change,
    bool dry_run
) {
    for (;;) {
        const ObjectPtr current = store_.get(resource, key);
        if (current == nullptr) return status::not_found(resource, name);
        auto next = change(current);
        if (!next) return next.failure();
        next->get_object().erase("kind");
        next->get_object().erase("apiVersion");
        set_string(metadata_of(*next), "resourceVersion", std::to_string(current->revision()));
        if (*next == current->doc()) return current;
        if (dry_run) return unstored(resource, std::move(*next));
        const bool release =
            current->deleting() && has_finalizers(current->doc()) && !has_finalizers(*next) &&
            json::get_int(*next, {"metadata", "deletionGracePeriodSeconds"}).value_or(0) == 0;
        auto written = store_.replace(resource, std::move(*next), current);
        if (written.object != nullptr) {
            if (!release) return std::move(written.object);
            auto erased = erase(written.object);
            if (erased) return std::move(erased->object);
        }
    }
}

Outcome<json::value> Api::checked_update(
    const Resource& resource,
    const ObjectPtr& current,
    json::value next,
    std::string_view subresource
) const {
    if (auto bad = normalise_shape(resource, next)) return *bad;
    if (auto bad = check_kind_shape(resource, next)) return *bad;
    const auto version = json::get_string(next, {"metadata", "resourceVersion"});
    if (!version.empty() && version != "0" && version != std::to_string(current->revision()))
        return status::stale(resource, current->name());
    keep_server_fields(current->doc(), next);
    if (subresource == "status") {
        copy_field(current->doc(), next, "spec");
    } else if (resource.has_subresource("status")) {
        copy_field(current->doc(), next, "status");
    }
    default_always(resource, next);
    auto causes = check_metadata_update(current->doc(), next);
    for (auto& cause : check_metadata(resource, next)) causes.push_back(std::move(cause));
    if (resource.kind == "Pod") {
        for (auto& cause : validate_pod_update(current->doc(), next))
            causes.push_back(std::move(cause));
    } else {
        for (auto& cause : validate_kind(resource, next)) causes.push_back(std::move(cause));
    }
    if (!causes.empty()) return status::invalid(resource, current->name(), std::move(causes));
    return next;
}

Outcome<ObjectPtr> Api::update(
    const Resource& resource,
    std::string_view name_space,
    std::string_view name,
    json::value body,
    std::string_view subresource,
    bool dry_run
) {
    if (auto bad = normalise_shape(resource, body)) return *bad;
    if (auto bad = match_request(resource, name_space, name, body)) return *bad;
    if (auto bad = check_kind_shape(resource, body)) return *bad;
    if (!resource.unconditional_update &&
        json::get_string(body, {"metadata", "resourceVersion"}).empty()) {
        return status::invalid(
            resource,
            name,
            {{"FieldValueInvalid",
              "Invalid value: 0x0: must be specified for an update",
              "metadata.resourceVersion"}}
        );
    }
    const auto change = [&](const ObjectPtr& current) -> Outcome<json::value> {
        const auto uid = json::get_string(body, {"metadata", "uid"});
        if (!uid.empty() && uid != current->uid())
            return status::uid_conflict(resource, name, uid, current->uid());
        return checked_update(resource, current, body, subresource);
    };
    return modify(resource, object_key(name_space, name), name, change, dry_run);
}

Outcome<ObjectPtr> Api::patch(
    const Resource& resource,
    std::string_view name_space,
    std::string_view name,
    PatchFormat format,
    const json::value& patch,
    std::string_view subresource,
    bool dry_run
) {
    const auto change = [&](const ObjectPtr& current) -> Outcome<json::value> {
        json::value base = current->full_doc();
        Outcome<json::value> next = format == PatchFormat::kJson ? json_patch(base, patch)
                                    : format == PatchFormat::kMerge
                                        ? Outcome(merge_patch(std::move(base), patch))
                                        : strategic_merge_patch(std::move(base), patch);
        if (!next) return next.failure();
        if (auto bad = normalise_shape(resource, *next)) return *bad;
        if (auto bad = match_request(resource, name_space, name, *next)) return *bad;
        return checked_update(resource, current, std::move(*next), subresource);
    };
    return modify(resource, object_key(name_space, name), name, change, dry_run);
}

Verdict Api::bind(
    std::string_view name_space, std::string_view pod, json::value binding, bool dry_run
) {
    if (auto bad = normalise_shape(pods(), binding)) return *bad;
    const auto complain =
        [&](std::string_view reason, std::string_view message, std::string_view field) {
            ApiStatus s = status::invalid(
                pods(), pod, {{std::string(reason), std::string(message), std::string(field)}}
            );
            s.kind = "Binding";
            s.message = "Binding \"" + std::string(pod) + "\" is invalid: " + std::string(field) +
                        ": " + std::string(message);
            return s;
        };
    const std::string node(json::get_string(binding, {"target", "name"}));
    const auto kind = json::get_string(binding, {"target", "kind"});
    const auto named = json::get_string(binding, {"metadata", "name"});
    if (!kind.empty() && kind != "Node")
        return complain(
            "FieldValueNotSupported",
            "Unsupported value: supported values: \"Node\", \"<empty>\"",
            "target.kind"
        );
    if (node.empty()) return complain("FieldValueRequired", "Required value", "target.name");
    if (!named.empty() && named != pod)
        return status::bad_request("name in URL does not match name in Binding object");
    const json::object* annotations = json::get_object(binding, {"metadata", "annotations"});
    const auto uid = json::get_string(binding, {"metadata", "uid"});
    const auto version = json::get_string(binding, {"metadata", "resourceVersion"});
    const auto change = [&](const ObjectPtr& current) -> Outcome<json::value> {
        const auto refuse = [&](std::string_view why) {
            return status::conflict(pods(), pod, why, "pods/binding");
        };
        if (check_binding_uid_ && !uid.empty() && uid != current->uid())
            return status::uid_conflict(pods(), pod, uid, current->uid());
        if (check_binding_uid_ && !version.empty() &&
            version != std::to_string(current->revision()))
            return refuse("the object has been modified");
        if (current->deleting())
            return refuse(
                "pod " + std::string(pod) + " is being deleted, cannot be assigned to a host"
            );
        const auto assigned = json::get_string(current->doc(), {"spec", "nodeName"});
        if (!assigned.empty())
            return refuse(
                "pod " + std::string(pod) + " is already assigned to node \"" +
                std::string(assigned) + "\""
            );
        const json::array* gates = json::get_array(current->doc(), {"spec", "schedulingGates"});
        if (gates != nullptr && !gates->empty())
            return refuse("pod " + std::string(pod) + " has non-empty .spec.schedulingGates");
        json::value next = current->doc();
        assign_pod(next, node, annotations);
        return next;
    };
    auto done = modify(pods(), object_key(name_space, pod), pod, change, dry_run);
    if (!done) return done.failure();
    return {};
}

}  // namespace egpu::testing
