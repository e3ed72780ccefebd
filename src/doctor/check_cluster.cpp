// What the API server knows of this node, the scheduler's configuration, and mandatory access
// control.
#include <algorithm>
#include <charconv>

#include "cli/check_config.h"
#include "doctor/check.h"

namespace egpu::doctor {
namespace {

constexpr const char* kWhole = "nvidia.com/gpu";
constexpr const char* kPercent = "nano-gpu/gpu-percent";
constexpr int kUnitsPerCard = 100;

// A whole-number quantity as the API server writes those of extended resources; -1 absent.
long quantity(const json::value& node, std::string_view list, std::string_view resource) {
    const std::string_view text = json::get_string(node, {"status", list, resource});
    long value = -1;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    return parsed.ec == std::errc{} ? value : -1;
}

bool offers(const Process& agent, std::string_view word) {
    const auto resources = flag_value(agent, "resources");
    return !resources || resources->find(word) != std::string::npos;
}

struct Offer {
    const char* resource;
    const char* flag_word;
    long expected;
};

// Cards as the agent reported them (MIG instances are cards), else as NVML counts GPUs.
long card_count(const CheckContext& context) {
    const json::value& node = context.facts.api.node;
    const auto text = json::get_string(node, {"metadata", "annotations", "edge-gpu.io/cards"});
    const auto parsed = json::parse(text);
    if (parsed) {
        if (const json::array* cards = json::get_array(*parsed, {"cards"}))
            return static_cast<long>(cards->size());
    }
    return static_cast<long>(context.facts.nvml.gpus.size());
}

void resources(const CheckContext& context, const Process& agent, Findings& out) {
    const ApiFacts& api = context.facts.api;
    const long cards = card_count(context);
    const std::string looked = "Node " + api.node_name + " at " + api.server;
    for (const Offer& offer :
         {Offer{kWhole, "whole", cards}, Offer{kPercent, "share", cards * kUnitsPerCard}}) {
        if (!offers(agent, offer.flag_word)) continue;
        const long capacity = quantity(api.node, "capacity", offer.resource);
        if (capacity <= 0) {
            Finding& finding = out.error(
                "resource-not-offered",
                looked,
                std::string("no capacity of ") + offer.resource + ", though the agent runs"
            );
            finding.meaning = "the agent is not registered with this kubelet";
            finding.fix =
                "curl -s http://127.0.0.1:39998/readyz   says what is missing\njournalctl -u "
                "edge-gpu-agent -n 50";
        } else if (capacity != offer.expected) {
            Finding& finding = out.warning(
                "resource-count-differs",
                looked,
                std::string("capacity of ") + offer.resource + " is " + std::to_string(capacity) +
                    ", expected " + std::to_string(offer.expected)
            );
            finding.meaning =
                "another plugin offers it, or the kubelet has not reported the last change yet (10 "
                "s)";
            finding.fix =
                "curl -s http://127.0.0.1:39998/status\nkubectl describe node " + api.node_name;
        }
    }
}

void runtime_classes(const CheckContext& context, Findings& out) {
    const ApiFacts& api = context.facts.api;
    const NodeModel& node = context.node;
    const json::array* classes = json::get_array(api.runtime_classes, {"items"});
    const json::array* pods = json::get_array(api.pods, {"items"});
    if (classes == nullptr || pods == nullptr || node.runtime != RuntimeKind::kContainerd) return;
    for (const json::value& each : *classes) {
        const std::string name(json::get_string(each, {"metadata", "name"}));
        const std::string handler(json::get_string(each, {"handler"}));
        if (node.containerd.runtime(handler) != nullptr || handler == "runc") continue;
        const bool used = std::any_of(pods->begin(), pods->end(), [&name](const json::value& pod) {
            return json::get_string(pod, {"spec", "runtimeClassName"}) == name;
        });
        if (!used) continue;
        Finding& finding = out.error(
            "runtimeclass-handler-missing",
            "RuntimeClass " + name + ", " + node.containerd.path,
            "a pod of this node uses it, and containerd has no runtime \"" + handler + "\""
        );
        finding.meaning = "the pod stays in ContainerCreating";
        finding.fix =
            "remove runtimeClassName from the pod (edge-gpu needs none)\nor: nvidia-ctk runtime "
            "configure "
            "--runtime=containerd; systemctl restart containerd";
    }
}

}  // namespace

void check_api(const CheckContext& context, Findings& out) {
    const ApiFacts& api = context.facts.api;
    if (!context.node.kubelet.expected) return out.skip("this machine is no Kubernetes node");
    if (!api.asked) return out.skip("no kubeconfig; give one with --kubeconfig");
    if (!api.error.empty()) {
        Finding& finding =
            out.warning("api-unreachable", api.server.empty() ? api.source : api.server, api.error);
        finding.meaning = "what runs goes on; new pods do not come";
        finding.fix = "kubectl --kubeconfig " + api.source + " get node " + api.node_name;
        return;
    }
    const Process* agent = context.node.agent.process;
    if (agent != nullptr) resources(context, *agent, out);
    runtime_classes(context, out);
    if (!out.empty()) return;
    const long whole = quantity(api.node, "allocatable", kWhole);
    const long percent = quantity(api.node, "allocatable", kPercent);
    out.ok(
        "api",
        "Node " + api.node_name + " at " + api.server,
        whole < 0 && percent < 0
            ? std::string("answers; no GPU resource offered yet")
            : "allocatable: " + std::to_string(std::max(whole, 0L)) + " whole, " +
                  std::to_string(std::max(percent, 0L)) + " percent"
    );
}

void check_extender(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    const Process* scheduler = find_process(facts, "kube-scheduler");
    if (scheduler == nullptr) return out.skip("no kube-scheduler on this machine");
    std::string path = flag_value(*scheduler, "config").value_or("");
    if (path.empty()) path = flag_value(*scheduler, "policy-config-file").value_or("");
    if (path.empty()) {
        Finding& finding =
            out.warning("extender-not-configured", "kube-scheduler's flags", "no --config");
        finding.meaning =
            "kube-scheduler does not ask edge-gpu: pods that ask for a share land on nodes whose "
            "cards have no room for it";
        finding.fix = "give kube-scheduler --config with the extender of docs/operations.md";
        return;
    }
    const auto text = facts.files->read(path);
    if (!text) {
        out.info("extender-config-unreadable", path, text.error().message).fix =
            "the file is inside kube-scheduler's container: mount it from the host at the same "
            "path";
        return;
    }
    cli::CheckOptions options;
    if (context.node.kubelet.version)
        options.minor = static_cast<int>(context.node.kubelet.version->minor);
    const auto checked = cli::check_config(*text, options);
    if (!checked) {
        Finding& finding = out.error("extender-config-broken", path, checked.error().message);
        finding.meaning = "kube-scheduler does not start with this file";
        finding.fix = "edge-gpu scheduler-config prints one that works";
        return;
    }
    for (const cli::Finding& fault : checked->findings.all()) {
        const std::string id = "extender-" + fault.code;
        const std::string found =
            fault.path + (fault.line > 0 ? " (line " + std::to_string(fault.line) + ")" : "");
        const bool fatal = fault.severity == cli::Severity::kError;
        Finding& finding = fatal ? out.error(id, path, found) : out.warning(id, path, found);
        finding.meaning = fault.message;
        finding.fix =
            fault.fix + "\nthen restart kube-scheduler; edge-gpu scheduler-config --check " + path;
    }
    if (out.empty()) out.ok("extender", path, "asks edge-gpu's extender");
}

void check_security(const CheckContext& context, Findings& out) {
    const FileView& files = *context.facts.files;
    const auto enforce = files.read("/sys/fs/selinux/enforce", 64);
    if (!enforce || !enforce->starts_with('1')) {
        out.ok(
            "mandatory-access",
            "/sys/fs/selinux/enforce",
            files.exists("/sys/kernel/security/apparmor")
                ? "SELinux does not enforce; AppArmor is on"
                : "SELinux does not enforce"
        );
        return;
    }
    const char* path = "/sys/fs/selinux/booleans/container_use_devices";
    const auto devices = files.read(path, 64);
    if (devices && devices->starts_with('1')) {
        out.ok("mandatory-access", path, "SELinux enforces; containers may use devices");
        return;
    }
    Finding& finding = out.warning(
        "selinux-devices",
        devices ? path : "/sys/fs/selinux/enforce",
        devices ? "SELinux enforces, container_use_devices is off"
                : "SELinux enforces, and has no container policy"
    );
    finding.meaning = "containers may not open /dev/nvidia* (\"Insufficient Permissions\")";
    finding.fix = devices
                      ? "setsebool -P container_use_devices on"
                      : "dnf install container-selinux && setsebool -P container_use_devices on";
}

}  // namespace egpu::doctor
