// Deletion: grace periods, finalizers, preconditions, eviction, and namespaces with their content.
#include "testing/apiserver/api.h"
#include "testing/apiserver/metadata_rules.h"
#include "testing/apiserver/pod_rules.h"

namespace egpu::testing {

Outcome<DeleteOptions> DeleteOptions::parse(const json::value& body) {
    DeleteOptions options;
    if (!body.is_object()) return status::bad_request("DeleteOptions must be an object");
    options.grace_seconds = json::get_int(body, {"gracePeriodSeconds"});
    options.uid = json::get_string(body, {"preconditions", "uid"});
    options.resource_version = json::get_string(body, {"preconditions", "resourceVersion"});
    if (const json::array* dry = json::get_array(body, {"dryRun"})) options.dry_run = !dry->empty();
    return options;
}

Outcome<Deleted> Api::erase(const ObjectPtr& current) {
    const Resource& resource = current->resource();
    const std::string key = object_key(current->name_space(), current->name());
    auto written = store_.erase(resource, key, current);
    if (written.object == nullptr) {
        if (written.error == StoreError::kMissing)
            return status::not_found(resource, current->name());
        return status::stale(resource, current->name());
    }
    if (resource.namespaced) finish_namespace(current->name_space());
    return Deleted{std::move(written.object), true};
}

Outcome<Deleted> Api::remove(
    const Resource& resource,
    std::string_view name_space,
    std::string_view name,
    const DeleteOptions& options
) {
    const std::string key = object_key(name_space, name);
    for (;;) {
        const ObjectPtr current = store_.get(resource, key);
        if (current == nullptr) return status::not_found(resource, name);
        if (!options.uid.empty() && options.uid != current->uid())
            return status::uid_conflict(resource, name, options.uid, current->uid());
        if (!options.resource_version.empty() &&
            options.resource_version != std::to_string(current->revision()))
            return status::stale(resource, name);
        if (resource.kind == "Namespace") return remove_namespace(current, options.dry_run);
        std::int64_t grace =
            resource.kind == "Pod" ? pod_grace_period(current->doc(), options.grace_seconds) : 0;
        if (options.dry_run) return Deleted{current, grace == 0};
        if (grace == 0 && !has_finalizers(current->doc())) {
            auto erased = erase(current);
            if (erased || erased.failure().code != 409) return erased;
            continue;
        }
        const auto previous =
            json::get_int(current->doc(), {"metadata", "deletionGracePeriodSeconds"});
        if (current->deleting() && previous && grace >= *previous) return Deleted{current, false};
        json::value next = current->doc();
        auto& metadata = metadata_of(next);
        set_string(metadata, "deletionTimestamp", timestamp_now(grace));
        metadata["deletionGracePeriodSeconds"] = grace;
        auto written = store_.replace(resource, std::move(next), current);
        if (written.object != nullptr) return Deleted{std::move(written.object), false};
    }
}

Outcome<Deleted> Api::remove_namespace(const ObjectPtr& current, bool dry_run) {
    const std::string name(current->name());
    if (name == "default" || name == "kube-system" || name == "kube-public")
        return status::of_code(
            403, "namespaces \"" + name + "\" is forbidden: this namespace may not be deleted"
        );
    if (dry_run) return Deleted{current, false};
    const auto terminate = [](const ObjectPtr& now) -> Outcome<json::value> {
        json::value next = now->doc();
        if (!now->deleting()) set_string(metadata_of(next), "deletionTimestamp", timestamp_now());
        set_string(child_object(next.get_object(), "status"), "phase", "Terminating");
        return next;
    };
    auto marked = modify(namespaces(), name, name, terminate, false);
    if (!marked) return marked.failure();
    for (const auto& resource : all_resources()) {
        if (!resource.namespaced) continue;
        const auto page = store_.list(resource, name + "/", "", 0, SIZE_MAX);
        for (const auto& object : page.items)
            static_cast<void>(remove(resource, name, object->name(), {}));
    }
    finish_namespace(name);
    return Deleted{*marked, false};
}

// A terminating namespace goes when the last thing in it has gone.
void Api::finish_namespace(std::string_view name) {
    const ObjectPtr found = store_.get(namespaces(), name);
    if (found == nullptr || !found->deleting()) return;
    for (const auto& resource : all_resources()) {
        if (!resource.namespaced) continue;
        if (!store_.list(resource, std::string(name) + "/", "", 0, 1).items.empty()) return;
    }
    static_cast<void>(store_.erase(namespaces(), name, nullptr));
}

Verdict Api::evict(std::string_view name_space, std::string_view pod, const json::value& eviction) {
    const json::value* given = json::find(eviction, {"deleteOptions"});
    auto options = DeleteOptions::parse(given == nullptr ? json::object() : *given);
    if (!options) return options.failure();
    auto removed = remove(pods(), name_space, pod, *options);
    if (!removed) return removed.failure();
    return {};
}

}  // namespace egpu::testing
