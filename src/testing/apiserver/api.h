// The verbs of the API on the object store: defaults, validation, preconditions, graceful deletion,
// binding and eviction, without HTTP. Both the REST side and the C++ calls of ApiServer end here.
// Thread-safe: writes are compare-and-swap loops on the store.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "testing/apiserver/api_status.h"
#include "testing/apiserver/selectors.h"
#include "testing/apiserver/store.h"

namespace egpu::testing {

enum class PatchFormat { kJson, kMerge, kStrategic };

struct DeleteOptions {
    std::optional<std::int64_t> grace_seconds;
    std::string uid;               // precondition
    std::string resource_version;  // precondition
    bool dry_run = false;

    static Outcome<DeleteOptions> parse(const json::value& body);
};

struct Deleted {
    ObjectPtr object;  // the last state, or the state with deletionTimestamp
    bool gone = false;
};

class Api {
  public:
    Api(ObjectStore& store, bool check_binding_uid);

    Outcome<ObjectPtr> get(
        const Resource& resource, std::string_view name_space, std::string_view name
    ) const;
    Outcome<ObjectPtr> create(
        const Resource& resource,
        std::string_view name_space,
        json::value body,
        bool dry_run = false
    );
    Outcome<ObjectPtr> update(
        const Resource& resource,
        std::string_view name_space,
        std::string_view name,
        json::value body,
        std::string_view subresource,
        bool dry_run = false
    );
    Outcome<ObjectPtr> patch(
        const Resource& resource,
        std::string_view name_space,
        std::string_view name,
        PatchFormat format,
        const json::value& patch,
        std::string_view subresource,
        bool dry_run = false
    );
    Outcome<Deleted> remove(
        const Resource& resource,
        std::string_view name_space,
        std::string_view name,
        const DeleteOptions& options
    );
    // Success is what the REST side answers with 201 and a Status.
    Verdict bind(
        std::string_view name_space, std::string_view pod, json::value binding, bool dry_run = false
    );
    Verdict evict(std::string_view name_space, std::string_view pod, const json::value& eviction);

    // The default namespaces, and `name` if it is missing.
    void ensure_namespace(std::string_view name);

  private:
    using Change = std::function<Outcome<json::value>(const ObjectPtr& current)>;
    // Reads, changes, swaps; again when somebody else was faster.
    Outcome<ObjectPtr> modify(
        const Resource& resource,
        std::string_view key,
        std::string_view name,
        const Change& change,
        bool dry_run
    );
    Outcome<json::value> checked_update(
        const Resource& resource,
        const ObjectPtr& current,
        json::value next,
        std::string_view subresource
    ) const;
    Verdict check_namespace(const Resource& resource, std::string_view name_space) const;
    Verdict prepare_new(const Resource& resource, json::value& doc) const;
    Verdict apply_priority_class(json::value& pod) const;
    Outcome<Deleted> erase(const ObjectPtr& current);
    Outcome<Deleted> remove_namespace(const ObjectPtr& current, bool dry_run);
    void finish_namespace(std::string_view name);

    ObjectStore& store_;
    const bool check_binding_uid_;
};

}  // namespace egpu::testing
