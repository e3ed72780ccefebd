// The C++ calls of ApiServer: the same rules as over HTTP, without HTTP and without faults.
#include "testing/apiserver/api_server_state.h"
#include "testing/apiserver/metadata_rules.h"

namespace egpu::testing {
namespace {

std::string name_space_of(const Resource& resource, std::string_view given) {
    if (!resource.namespaced) return "";
    return given.empty() ? "default" : std::string(given);
}

Error unknown_resource(std::string_view resource) {
    return Error{
        ErrorCode::kInvalid,
        "the embedded API server knows no resource \"" + std::string(resource) + "\""};
}

}  // namespace

void ApiServer::set_log(const ObjectRef& pod, std::string_view container, std::string text) {
    state_->set_log(name_space_of(pods(), pod.name_space), pod.name, container, std::move(text));
}

Result<json::value> ApiServer::create(const json::value& object) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    const std::string ns = name_space_of(*r, json::get_string(object, {"metadata", "namespace"}));
    if (r->namespaced) state_->api.ensure_namespace(ns);
    auto made = state_->api.create(*r, ns, object);
    if (!made) return made.failure().to_error();
    return (*made)->full_doc();
}

Result<json::value> ApiServer::create(std::string_view json_text) {
    EG_TRY(const auto object, json::parse(json_text));
    return create(object);
}

Result<json::value> ApiServer::get(const ObjectRef& ref) const {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    auto found = state_->api.get(*r, name_space_of(*r, ref.name_space), ref.name);
    if (!found) return found.failure().to_error();
    return (*found)->full_doc();
}

std::vector<json::value> ApiServer::list(std::string_view resource, const ListQuery& query) const {
    std::vector<json::value> out;
    Target target;
    target.resource = find_plural(resource);
    EG_CHECK(target.resource != nullptr);
    target.name_space = query.name_space;
    const auto parameters = http::Query::parse(
        "fieldSelector=" + http::percent_encode(query.field_selector) +
        "&labelSelector=" + http::percent_encode(query.label_selector)
    );
    auto selection = state_->rest.parse_selection(target, parameters);
    EG_CHECK(static_cast<bool>(selection));
    auto found = state_->rest.list(*target.resource, *selection, 0, "");
    if (!found) return out;
    for (const auto& object : found->items) out.push_back(object->full_doc());
    return out;
}

Result<json::value> ApiServer::update(const json::value& object, std::string_view subresource) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    auto updated = state_->api.update(
        *r,
        name_space_of(*r, json::get_string(object, {"metadata", "namespace"})),
        json::get_string(object, {"metadata", "name"}),
        object,
        subresource
    );
    if (!updated) return updated.failure().to_error();
    return (*updated)->full_doc();
}

Result<json::value> ApiServer::patch(
    const ObjectRef& ref, const json::value& merge_patch, std::string_view subresource
) {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    auto patched = state_->api.patch(
        *r,
        name_space_of(*r, ref.name_space),
        ref.name,
        PatchFormat::kMerge,
        merge_patch,
        subresource
    );
    if (!patched) return patched.failure().to_error();
    return (*patched)->full_doc();
}

Status ApiServer::remove(const ObjectRef& ref, std::optional<int> grace_seconds) {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    DeleteOptions options;
    if (grace_seconds) options.grace_seconds = *grace_seconds;
    auto removed = state_->api.remove(*r, name_space_of(*r, ref.name_space), ref.name, options);
    if (!removed) return removed.failure().to_error();
    return ok_status();
}

Status ApiServer::bind(
    const ObjectRef& pod,
    std::string_view node,
    const std::map<std::string, std::string>& annotations
) {
    json::object notes;
    for (const auto& [key, text] : annotations) notes[key] = text;
    json::value binding = {
        {"metadata", {{"name", pod.name}, {"annotations", std::move(notes)}}},
        {"target", {{"kind", "Node"}, {"name", node}}}};
    auto failed =
        state_->api.bind(name_space_of(pods(), pod.name_space), pod.name, std::move(binding));
    if (failed) return failed->to_error();
    return ok_status();
}

Result<json::value> ApiServer::load(json::value object) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    auto& metadata = metadata_of(object);
    if (json::get_string(object, {"metadata", "name"}).empty())
        return Error{ErrorCode::kInvalid, "load: metadata.name is missing"};
    if (r->namespaced) {
        const auto ns = name_space_of(*r, json::get_string(object, {"metadata", "namespace"}));
        state_->api.ensure_namespace(ns);
        set_string(metadata, "namespace", ns);
    }
    if (!metadata.contains("uid")) set_string(metadata, "uid", new_uid());
    if (!metadata.contains("creationTimestamp"))
        set_string(metadata, "creationTimestamp", timestamp_now());
    auto written = state_->store.replace(*r, std::move(object), nullptr);
    return written.object->full_doc();
}

bool ApiServer::wait_until(const std::function<bool()>& predicate, Duration timeout) const {
    const TimePoint deadline = MonoClock::now() + timeout;
    for (;;) {
        const std::uint64_t seen = state_->store.revision();
        if (predicate()) return true;
        if (!state_->store.wait_beyond(seen, deadline)) return predicate();
    }
}

bool ApiServer::wait_for(
    const ObjectRef& ref, const std::function<bool(const json::value*)>& predicate, Duration timeout
) const {
    return wait_until(
        [&] {
            const auto found = get(ref);
            return predicate(found ? &*found : nullptr);
        },
        timeout
    );
}

}  // namespace egpu::testing
