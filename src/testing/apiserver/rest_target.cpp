// Paths of the API: /api/v1/... and /apis/GROUP/VERSION/..., with or without namespaces/NAME in
// front.
#include "testing/apiserver/rest.h"

namespace egpu::testing {
namespace {

std::vector<std::string_view> split_path(std::string_view path) {
    std::vector<std::string_view> parts;
    while (!path.empty()) {
        const std::size_t slash = std::min(path.find('/'), path.size());
        if (slash > 0) parts.push_back(path.substr(0, slash));
        path.remove_prefix(std::min(slash + 1, path.size()));
    }
    return parts;
}

}  // namespace

std::optional<Target> parse_target(std::string_view path) {
    const auto parts = split_path(path);
    std::size_t at = 0;
    std::string_view group;
    std::string_view version;
    if (parts.size() >= 3 && parts[0] == "api") {
        version = parts[1];
        at = 2;
    } else if (parts.size() >= 4 && parts[0] == "apis") {
        group = parts[1];
        version = parts[2];
        at = 3;
    } else {
        return std::nullopt;
    }
    Target target;
    // namespaces/NS/RESOURCE..., but namespaces/NS and namespaces/NS/status are the namespace
    // itself.
    if (parts[at] == "namespaces" && parts.size() >= at + 3 &&
        (!group.empty() || !namespaces().has_subresource(parts[at + 2]))) {
        target.name_space = parts[at + 1];
        at += 2;
    }
    std::string_view plural = parts[at];
    // The old way to bind: POST namespaces/NS/bindings, the pod is named in the body.
    const bool old_binding = group.empty() && plural == "bindings" && at + 1 == parts.size();
    target.resource = find_resource(group, version, old_binding ? "pods" : plural);
    if (target.resource == nullptr) return std::nullopt;
    if (old_binding) target.subresource = "binding";
    if (!target.resource->namespaced && !target.name_space.empty()) return std::nullopt;
    if (at + 1 < parts.size()) target.name = parts[at + 1];
    if (at + 2 < parts.size()) target.subresource = parts[at + 2];
    if (at + 3 < parts.size()) return std::nullopt;
    if (!target.subresource.empty() && !target.resource->has_subresource(target.subresource))
        return std::nullopt;
    if (!target.name.empty() && target.resource->namespaced && target.name_space.empty())
        return std::nullopt;
    return target;
}

}  // namespace egpu::testing
