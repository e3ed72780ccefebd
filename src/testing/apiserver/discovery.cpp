#include "testing/apiserver/discovery.h"

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "testing/apiserver/resources.h"

namespace egpu::testing {
namespace {

constexpr std::string_view kJson = "application/json";

json::array strings(const std::vector<std::string_view>& list) {
    json::array out;
    for (const auto s : list) out.emplace_back(s);
    return out;
}

std::vector<std::string_view> groups() {
    std::vector<std::string_view> out;
    for (const auto& r : all_resources()) {
        if (!r.group.empty() && std::find(out.begin(), out.end(), r.group) == out.end())
            out.push_back(r.group);
    }
    return out;
}

json::object group_object(std::string_view group) {
    const std::string group_version = std::string(group) + "/v1";
    const json::object version = {{"groupVersion", group_version}, {"version", "v1"}};
    return {{"name", group}, {"versions", json::array{version}}, {"preferredVersion", version}};
}

void add_subresource(json::array& list, const Resource& r, std::string_view name) {
    json::object entry;
    entry["name"] = std::string(r.plural) + "/" + std::string(name);
    entry["singularName"] = "";
    entry["namespaced"] = r.namespaced;
    entry["kind"] = r.kind;
    entry["verbs"] = strings({"get", "patch", "update"});
    if (name == "binding") {
        entry["kind"] = "Binding";
        entry["verbs"] = strings({"create"});
    } else if (name == "eviction") {
        entry["group"] = "policy";
        entry["version"] = "v1";
        entry["kind"] = "Eviction";
        entry["verbs"] = strings({"create"});
    } else if (name == "log") {
        entry["verbs"] = strings({"get"});
    }
    list.emplace_back(std::move(entry));
}

json::object resource_list(std::string_view group, std::string_view version) {
    json::array list;
    std::string group_version;
    for (const auto& r : all_resources()) {
        if (r.group != group || r.version != version) continue;
        group_version = r.group_version();
        json::object entry;
        entry["name"] = r.plural;
        entry["singularName"] = r.singular;
        entry["namespaced"] = r.namespaced;
        entry["kind"] = r.kind;
        entry["verbs"] = strings(
            {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
        );
        if (!r.short_names.empty()) entry["shortNames"] = strings(r.short_names);
        if (!r.categories.empty()) entry["categories"] = strings(r.categories);
        list.emplace_back(std::move(entry));
        for (const auto sub : r.subresources) add_subresource(list, r, sub);
    }
    if (list.empty()) return {};
    return {
        {"kind", "APIResourceList"},
        {"apiVersion", "v1"},
        {"groupVersion", group_version},
        {"resources", std::move(list)}};
}

json::object version_object(std::string_view version) {
    const std::size_t dot = version.find('.');
    const std::size_t second = version.find('.', dot + 1);
    return {
        {"major", version.substr(0, dot)},
        {"minor", dot == std::string_view::npos ? "" : version.substr(dot + 1, second - dot - 1)},
        {"gitVersion", "v" + std::string(version)},
        {"gitCommit", ""},
        {"gitTreeState", "clean"},
        {"buildDate", "1970-01-01T00:00:00Z"},
        {"goVersion", ""},
        {"compiler", ""},
        {"platform", "linux/amd64"}};
}

json::object patch_operation(const Resource& r) {
    json::array parameters;
    for (const std::string_view name :
         {"dryRun", "fieldManager", "fieldValidation", "force", "pretty"}) {
        parameters.emplace_back(json::object{
            {"name", name},
            {"in", "query"},
            {"schema", {{"type", name == "force" ? "boolean" : "string"}, {"uniqueItems", true}}}});
    }
    return {
        {"operationId", "patch" + std::string(r.kind)},
        {"parameters", std::move(parameters)},
        {"responses", {{"200", {{"description", "OK"}}}}},
        {"x-kubernetes-action", "patch"},
        {"x-kubernetes-group-version-kind",
         {{"group", r.group}, {"kind", r.kind}, {"version", r.version}}}};
}

json::object openapi_v3(std::string_view prefix, std::string_view version) {
    json::object paths;
    for (const auto& r : all_resources()) {
        if (r.path_prefix() != prefix) continue;
        std::string path(prefix);
        if (r.namespaced) path += "/namespaces/{namespace}";
        path += "/" + std::string(r.plural) + "/{name}";
        paths[path] = {{"patch", patch_operation(r)}};
    }
    if (paths.empty()) return {};
    return {
        {"openapi", "3.0.0"},
        {"info", {{"title", "Kubernetes"}, {"version", "v" + std::string(version)}}},
        {"paths", std::move(paths)}};
}

json::object openapi_v3_index() {
    json::object paths;
    for (const auto& r : all_resources()) {
        const std::string path = r.path_prefix().substr(1);
        paths[path] = {{"serverRelativeURL", "/openapi/v3/" + path}};
    }
    return {{"paths", std::move(paths)}};
}

// One length-delimited protobuf field.
std::string pb(int number, std::string_view bytes) {
    std::string out(1, static_cast<char>((number << 3) | 2));
    std::size_t left = bytes.size();
    for (; left >= 128; left >>= 7) out += static_cast<char>((left & 127U) | 128U);
    out += static_cast<char>(left);
    return out.append(bytes);
}

// gnostic's openapi.v2.Document with nothing but the PATCH operations: kubectl before 1.24 looks
// there which kinds take the query parameter dryRun. No definitions, so it validates nothing
// itself.
std::string openapi_v2_protobuf(std::string_view version) {
    const std::string dry_run = pb(3, pb(2, "query") + pb(4, "dryRun"));  // a query parameter
    const std::string parameter = pb(8, pb(1, pb(2, dry_run)));
    std::string paths;
    for (const auto& r : all_resources()) {
        const std::string yaml = "group: \"" + std::string(r.group) +
                                 "\"\nkind: " + std::string(r.kind) +
                                 "\nversion: " + std::string(r.version) + "\n";
        const std::string extension =
            pb(13, pb(1, "x-kubernetes-group-version-kind") + pb(2, pb(2, yaml)));
        const std::string item = pb(8, parameter + extension);
        paths += pb(2, pb(1, r.path_prefix() + "/" + std::string(r.plural)) + pb(2, item));
    }
    return pb(1, "2.0") + pb(2, pb(1, "Kubernetes") + pb(2, "v" + std::string(version))) +
           pb(8, paths);
}

DiscoveryAnswer openapi_v2(std::string_view accept, std::string_view version) {
    if (accept.find("protobuf") != std::string_view::npos)
        // Not the requested name: Go's media type parser refuses its '@'.
        return {
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            openapi_v2_protobuf(version)};
    const json::object document = {
        {"swagger", "2.0"},
        {"info", {{"title", "Kubernetes"}, {"version", "v" + std::string(version)}}},
        {"paths", json::object()}};
    return {std::string(kJson), json::to_text(document)};
}

json::object api_versions(std::string_view server) {
    return {
        {"kind", "APIVersions"},
        {"versions", json::array{"v1"}},
        {"serverAddressByClientCIDRs",
         json::array{json::object{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", server}}}}};
}

json::object api_group_list() {
    json::array list;
    for (const auto group : groups()) list.emplace_back(group_object(group));
    return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}};
}

}  // namespace

std::optional<DiscoveryAnswer> answer_discovery(
    std::string_view path,
    std::string_view accept,
    std::string_view version,
    std::string_view server
) {
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    const auto as_json = [](const json::object& o) -> std::optional<DiscoveryAnswer> {
        if (o.empty()) return std::nullopt;
        return DiscoveryAnswer{std::string(kJson), json::to_text(o)};
    };
    if (path == "/version") return as_json(version_object(version));
    if (path == "/healthz" || path == "/livez" || path == "/readyz")
        return DiscoveryAnswer{"text/plain; charset=utf-8", "ok"};
    if (path == "/api") return as_json(api_versions(server));
    if (path == "/api/v1") return as_json(resource_list("", "v1"));
    if (path == "/apis") return as_json(api_group_list());
    if (path == "/openapi/v2") return openapi_v2(accept, version);
    if (path == "/openapi/v3") return as_json(openapi_v3_index());
    if (path.starts_with("/openapi/v3/")) {
        return as_json(openapi_v3(std::string(path.substr(sizeof("/openapi/v3") - 1)), version));
    }
    if (!path.starts_with("/apis/")) return std::nullopt;
    std::string_view rest = path.substr(6);
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) {
        for (const auto group : groups()) {
            if (group != rest) continue;
            json::object o = group_object(group);
            o["kind"] = "APIGroup";
            o["apiVersion"] = "v1";
            return as_json(o);
        }
        return std::nullopt;
    }
    if (rest.find('/', slash + 1) != std::string_view::npos) return std::nullopt;
    return as_json(resource_list(rest.substr(0, slash), rest.substr(slash + 1)));
}

}  // namespace egpu::testing
