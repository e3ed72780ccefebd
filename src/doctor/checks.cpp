#include <algorithm>
#include <array>

#include "doctor/check.h"

namespace egpu::doctor {
namespace {

constexpr std::string_view kDriver = "Driver";
constexpr std::string_view kRuntime = "Container runtime";
constexpr std::string_view kKubernetes = "Kubernetes";
constexpr std::string_view kHealth = "Health";

const std::vector<Check>& table() {
    static const std::vector<Check> checks{
        {"pci", "GPUs on the bus", kDriver, {}, check_pci},
        {"module", "kernel modules", kDriver, {"pci"}, check_module},
        {"libraries", "driver libraries", kDriver, {"module"}, check_libraries},
        {"majors", "device numbers", kDriver, {"module"}, check_majors},
        {"device-nodes", "device nodes", kDriver, {"majors"}, check_device_nodes},
        {"dev-char", "/dev/char links", kDriver, {"device-nodes"}, check_dev_char},
        {"nvml", "NVML answers", kDriver, {"module", "libraries", "device-nodes"}, check_nvml},
        {"cards", "every GPU answers", kDriver, {"nvml"}, check_cards},
        {"cuda", "CUDA version", kDriver, {"nvml"}, check_cuda},
        {"fabric", "NVSwitch fabric", kDriver, {"nvml"}, check_fabric},
        {"docker", "Docker", kRuntime, {"pci"}, check_docker},
        {"containerd", "containerd", kRuntime, {"pci"}, check_containerd},
        {"crio", "CRI-O", kRuntime, {"pci"}, check_crio},
        {"toolkit", "NVIDIA's container toolkit", kRuntime, {"pci"}, check_toolkit},
        {"injection",
         "how containers get cards",
         kRuntime,
         {"libraries", "docker", "containerd", "crio", "toolkit"},
         check_injection},
        {"cdi", "CDI specs", kRuntime, {"libraries", "device-nodes"}, check_cdi},
        {"cgroup",
         "control groups",
         kRuntime,
         {"pci", "containerd", "docker", "crio"},
         check_cgroup},
        {"kubelet", "kubelet", kKubernetes, {"pci", "containerd", "docker", "crio"}, check_kubelet},
        {"plugins", "device plugins", kKubernetes, {"pci"}, check_plugins},
        {"lite-apiserver",
         "SuperEdge's lite-apiserver",
         kKubernetes,
         {"pci"},
         check_lite_apiserver},
        {"extender", "kube-scheduler's extender", kKubernetes, {}, check_extender},
        {"api",
         "API server",
         kKubernetes,
         {"nvml", "cards", "device-nodes", "fabric", "kubelet", "plugins", "lite-apiserver"},
         check_api},
        {"security", "SELinux, AppArmor", kKubernetes, {"kubelet"}, check_security},
        {"history",
         "driver's errors since boot",
         kHealth,
         {"module", "nvml", "cards"},
         check_history},
        {"limits", "kernel limits", kHealth, {"pci"}, check_limits},
        {"clock", "clock", kHealth, {"pci"}, check_clock},
    };
    return checks;
}

// Why `check` cannot say anything that an earlier check did not say; "" when it can.
std::string blocked_by(const Check& check, const Report& report) {
    for (const std::string_view need : check.needs) {
        for (const CheckResult& earlier : report.checks) {
            if (earlier.id != need) continue;
            if (earlier.severity() == Severity::kError) {
                return "see \"" + earlier.title + "\" first";
            }
            if (earlier.blocked) return earlier.skipped;
        }
    }
    return "";
}

}  // namespace

Finding& Findings::add(
    Severity severity, std::string_view id, std::string looked_at, std::string found
) {
    Finding& finding = into_.findings.emplace_back();
    finding.id = id;
    finding.severity = severity;
    finding.looked_at = std::move(looked_at);
    finding.found = std::move(found);
    return finding;
}

Finding& Findings::ok(std::string_view id, std::string looked_at, std::string found) {
    return add(Severity::kOk, id, std::move(looked_at), std::move(found));
}
Finding& Findings::info(std::string_view id, std::string looked_at, std::string found) {
    return add(Severity::kInfo, id, std::move(looked_at), std::move(found));
}
Finding& Findings::warning(std::string_view id, std::string looked_at, std::string found) {
    return add(Severity::kWarning, id, std::move(looked_at), std::move(found));
}
Finding& Findings::error(std::string_view id, std::string looked_at, std::string found) {
    return add(Severity::kError, id, std::move(looked_at), std::move(found));
}

std::span<const Check> all_checks() {
    return table();
}

Report run_checks(const Facts& facts) {
    const NodeModel node = read_node(facts);
    Report report;
    report.node = node.name;
    report.root = facts.root;
    report.has_gpu = node.has_gpu();
    for (const Check& check : all_checks()) {
        CheckResult result{
            std::string(check.id),
            std::string(check.title),
            std::string(check.group),
            {},
            "",
            false};
        result.skipped = blocked_by(check, report);
        result.blocked = !result.skipped.empty();
        // What needs nothing makes sense on a machine without a GPU too: a control-plane node.
        if (!report.has_gpu && !check.needs.empty()) result.skipped = "no NVIDIA GPU here";
        if (result.skipped.empty()) {
            Findings findings(result);
            check.run(CheckContext{facts, node}, findings);
        }
        report.checks.push_back(std::move(result));
    }
    return report;
}

}  // namespace egpu::doctor
