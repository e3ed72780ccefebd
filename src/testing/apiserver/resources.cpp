#include "testing/apiserver/resources.h"

#include <algorithm>

#include "base/check.h"
#include "testing/apiserver/printers.h"

namespace egpu::testing {
namespace {

const Column kName{"Name", "string", "name"};
const Column kAge{"Age"};

Resource pods_entry() {
    return {
        .group = "",
        .version = "v1",
        .plural = "pods",
        .singular = "pod",
        .kind = "Pod",
        .short_names = {"po"},
        .categories = {"all"},
        .subresources = {"status", "binding", "eviction", "log"},
        .fields =
            {"spec.nodeName",
             "spec.restartPolicy",
             "spec.schedulerName",
             "spec.serviceAccountName",
             "status.phase",
             "status.podIP",
             "status.nominatedNodeName"},
        .columns =
            {kName,
             {"Ready"},
             {"Status"},
             {"Restarts"},
             kAge,
             {"IP", "string", "", 1},
             {"Node", "string", "", 1},
             {"Nominated Node", "string", "", 1},
             {"Readiness Gates", "string", "", 1}},
        .print = print_pod,
    };
}

Resource nodes_entry() {
    return {
        .group = "",
        .version = "v1",
        .plural = "nodes",
        .singular = "node",
        .kind = "Node",
        .namespaced = false,
        .short_names = {"no"},
        .subresources = {"status"},
        .fields = {"spec.unschedulable"},
        .columns =
            {kName,
             {"Status"},
             {"Roles"},
             kAge,
             {"Version"},
             {"Internal-IP", "string", "", 1},
             {"External-IP", "string", "", 1},
             {"OS-Image", "string", "", 1},
             {"Kernel-Version", "string", "", 1},
             {"Container-Runtime", "string", "", 1}},
        .print = print_node,
    };
}

Resource events_entry() {
    return {
        .group = "",
        .version = "v1",
        .plural = "events",
        .singular = "event",
        .kind = "Event",
        .short_names = {"ev"},
        .fields =
            {"involvedObject.kind",
             "involvedObject.namespace",
             "involvedObject.name",
             "involvedObject.uid",
             "involvedObject.apiVersion",
             "involvedObject.resourceVersion",
             "involvedObject.fieldPath",
             "reason",
             "reportingComponent",
             "source",
             "type"},
        .columns =
            {{"Last Seen"},
             {"Type"},
             {"Reason"},
             {"Object"},
             {"Subobject", "string", "", 1},
             {"Source", "string", "", 1},
             {"Message"},
             {"First Seen", "string", "", 1},
             {"Count", "string", "", 1},
             {"Name", "string", "name", 1}},
        .print = print_event,
    };
}

Resource namespaces_entry() {
    return {
        .group = "",
        .version = "v1",
        .plural = "namespaces",
        .singular = "namespace",
        .kind = "Namespace",
        .namespaced = false,
        .short_names = {"ns"},
        .subresources = {"status"},
        .fields = {"status.phase"},
        .columns = {kName, {"Status"}, kAge},
        .print = print_namespace,
    };
}

Resource services_entry() {
    return {
        .group = "",
        .version = "v1",
        .plural = "services",
        .singular = "service",
        .kind = "Service",
        .short_names = {"svc"},
        .categories = {"all"},
        .subresources = {"status"},
        .columns =
            {kName,
             {"Type"},
             {"Cluster-IP"},
             {"External-IP"},
             {"Port(s)"},
             kAge,
             {"Selector", "string", "", 1}},
        .print = print_service,
    };
}

std::vector<Resource> make_table() {
    std::vector<Resource> table;
    table.push_back(pods_entry());
    table.push_back(nodes_entry());
    table.push_back(namespaces_entry());
    table.push_back(events_entry());
    table.push_back(services_entry());
    table.push_back(
        {.group = "",
         .version = "v1",
         .plural = "endpoints",
         .singular = "endpoints",
         .kind = "Endpoints",
         .short_names = {"ep"},
         .columns = {kName, {"Endpoints"}, kAge},
         .print = print_endpoints}
    );
    table.push_back(
        {.group = "",
         .version = "v1",
         .plural = "configmaps",
         .singular = "configmap",
         .kind = "ConfigMap",
         .short_names = {"cm"},
         .columns = {kName, {"Data"}, kAge},
         .print = print_config_map}
    );
    table.push_back(
        {.group = "",
         .version = "v1",
         .plural = "secrets",
         .singular = "secret",
         .kind = "Secret",
         .fields = {"type"},
         .columns = {kName, {"Type"}, {"Data", "integer"}, kAge},
         .print = print_secret}
    );
    table.push_back(
        {.group = "",
         .version = "v1",
         .plural = "serviceaccounts",
         .singular = "serviceaccount",
         .kind = "ServiceAccount",
         .short_names = {"sa"},
         .columns = {kName, {"Secrets", "integer"}, kAge},
         .print = print_service_account}
    );
    table.push_back(
        {.group = "coordination.k8s.io",
         .version = "v1",
         .plural = "leases",
         .singular = "lease",
         .kind = "Lease",
         .unconditional_update = false,
         .columns = {kName, {"Holder"}, kAge},
         .print = print_lease}
    );
    table.push_back(
        {.group = "scheduling.k8s.io",
         .version = "v1",
         .plural = "priorityclasses",
         .singular = "priorityclass",
         .kind = "PriorityClass",
         .namespaced = false,
         .short_names = {"pc"},
         .columns = {kName, {"Value", "integer"}, {"Global-Default"}, kAge},
         .print = print_priority_class}
    );
    for (std::size_t i = 0; i < table.size(); ++i) table[i].index = i;
    return table;
}

const std::vector<Resource>& table() {
    static const std::vector<Resource> made = make_table();
    return made;
}

const Resource& must_find(std::string_view plural) {
    const Resource* found = find_plural(plural);
    EG_CHECK(found != nullptr);
    return *found;
}

}  // namespace

std::string Resource::group_version() const {
    return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

std::string Resource::qualified() const {
    return group.empty() ? std::string(plural) : std::string(plural) + "." + std::string(group);
}

std::string Resource::path_prefix() const {
    return (group.empty() ? "/api/" : "/apis/") + group_version();
}

bool Resource::has_subresource(std::string_view name) const {
    return std::find(subresources.begin(), subresources.end(), name) != subresources.end();
}

std::span<const Resource> all_resources() {
    return table();
}

const Resource* find_resource(
    std::string_view group, std::string_view version, std::string_view plural
) {
    for (const auto& r : table()) {
        if (r.plural == plural && r.group == group && r.version == version) return &r;
    }
    return nullptr;
}

const Resource* find_kind(std::string_view api_version, std::string_view kind) {
    for (const auto& r : table()) {
        if (r.kind == kind && r.group_version() == api_version) return &r;
    }
    return nullptr;
}

const Resource* find_plural(std::string_view plural) {
    for (const auto& r : table()) {
        if (r.plural == plural) return &r;
    }
    return nullptr;
}

const Resource& pods() {
    static const Resource& r = must_find("pods");
    return r;
}

const Resource& nodes() {
    static const Resource& r = must_find("nodes");
    return r;
}

const Resource& namespaces() {
    static const Resource& r = must_find("namespaces");
    return r;
}

}  // namespace egpu::testing
