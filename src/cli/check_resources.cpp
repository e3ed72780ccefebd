#include <algorithm>

#include "cli/check_extender.h"
#include "cli/spelling.h"
#include "core/request.h"

namespace egpu::cli {

using core::kResourcePercent;
using core::kResourceWhole;

namespace {

bool is_extended_resource(std::string_view name) {
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos || slash == 0) return false;
    const std::string_view domain = name.substr(0, slash);
    const std::string_view rest = name.substr(slash + 1);
    const auto fine = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return !rest.empty() && rest.size() <= 63 && domain.size() <= 253 &&
           std::all_of(rest.begin(), rest.end(), fine) &&
           std::all_of(domain.begin(), domain.end(), fine) && domain != "kubernetes.io" &&
           !domain.ends_with(".kubernetes.io") && !domain.starts_with("requests.");
}

}  // namespace

bool is_left_over_resource(std::string_view name) {
    return name.starts_with("elasticgpu.io/") || name.starts_with("nano-gpu.io/gpu-") ||
           name == "aliyun.com/gpu-mem" || name.starts_with("tencent.com/vcuda-");
}

std::string_view meant_resource(std::string_view name) {
    constexpr std::string_view kNames[] = {kResourcePercent, kResourceWhole};
    if (name == "gpu-percent") return kResourcePercent;
    return closest(name, kNames);
}

std::vector<ManagedResource> managed_resources(const Fields& extender, Findings* findings) {
    constexpr Key kKeys[] = {{"name", KeyType::kText}, {"ignoredByScheduler", KeyType::kBool}};
    std::vector<ManagedResource> out;
    const Node* list = extender.node("managedResources");
    if (list == nullptr) return out;
    Findings unheard;
    Findings& sink = findings == nullptr ? unheard : *findings;
    for (std::size_t i = 0; i < list->items.size(); ++i) {
        const Node& item = list->items[i];
        const std::string path = index_path(extender.path("managedResources"), i);
        if (!item.is_map()) {
            sink.error(
                "type",
                path,
                item.line,
                "not a map with a name; kube-scheduler refuses the file",
                "- name: " + std::string(kResourcePercent)
            );
            continue;
        }
        const Fields fields(item, kKeys, path, Strictness::kRefuses, sink);
        const auto name = fields.text("name");
        if (!name) {
            if (!fields.has("name")) {
                sink.error(
                    "resource-name",
                    fields.path("name"),
                    item.line,
                    "a managed resource without a name; kube-scheduler refuses the file",
                    "name: " + std::string(kResourcePercent)
                );
            }
            continue;
        }
        if (!is_extended_resource(*name) && meant_resource(*name).empty()) {
            sink.error(
                "resource-name",
                fields.path("name"),
                fields.line("name"),
                shown(*name) +
                    " is no extended resource (domain/name); kube-scheduler refuses the file",
                "name: " + std::string(kResourcePercent)
            );
        }
        out.push_back(
            {*name, fields.path("name"), fields.line("name"), fields.flag("ignoredByScheduler")}
        );
    }
    return out;
}

void check_resources(const Fields& extender, Findings& findings) {
    const std::string path = extender.path("managedResources");
    const int line = extender.line("managedResources");
    const Node* list = extender.node("managedResources");
    if (list == nullptr && extender.has("managedResources")) return;  // its type is wrong
    if (list == nullptr || list->items.empty()) {
        findings.error(
            "resources-empty",
            path,
            line,
            "names no resource, so edge-gpu is asked for, and binds, every pod of the cluster; "
            "while it is away "
            "nothing at all is scheduled",
            "managedResources: [{name: nano-gpu/gpu-percent}, {name: nvidia.com/gpu}]"
        );
        return;
    }
    bool percent = false;
    bool whole = false;
    for (const ManagedResource& resource : managed_resources(extender, nullptr)) {
        const std::string_view meant = meant_resource(resource.name);
        percent = percent || resource.name == kResourcePercent || meant == kResourcePercent;
        whole = whole || resource.name == kResourceWhole || meant == kResourceWhole;
        if (!meant.empty()) {
            findings.error(
                "resource-spelling",
                resource.path,
                resource.line,
                shown(resource.name) +
                    " is not offered by edge-gpu, so it is not called for the pods it serves",
                "did you mean " + std::string(meant) + "?"
            );
        } else if (is_left_over_resource(resource.name)) {
            findings.warning(
                "left-over",
                resource.path,
                resource.line,
                shown(resource.name) +
                    " belongs to another GPU scheduler; edge-gpu does not serve it, and would "
                    "pass and bind such pods without a card",
                "remove it; pods ask for nano-gpu/gpu-percent instead"
            );
        }
        if (resource.ignored_by_scheduler) {
            findings.error(
                "resource-ignored",
                resource.path,
                resource.line,
                "ignoredByScheduler: true makes kube-scheduler stop counting the resource on each "
                "node: it asks "
                "edge-gpu for hopeless nodes, and preemption finds nobody to evict",
                "ignoredByScheduler: false"
            );
        }
    }
    if (!percent) {
        findings.error(
            "resource-missing",
            path,
            line,
            "nano-gpu/gpu-percent is missing: edge-gpu is not called for pods that ask for a share "
            "of a card",
            "- name: nano-gpu/gpu-percent"
        );
    }
    if (!whole) {
        findings.warning(
            "resource-missing",
            path,
            line,
            "nvidia.com/gpu is missing: edge-gpu is not called for pods that ask for whole cards, "
            "so a whole card "
            "and a share may race for one card and one of the pods fails on the node",
            "- name: nvidia.com/gpu (unless another device plugin serves it)"
        );
    }
}

}  // namespace egpu::cli
