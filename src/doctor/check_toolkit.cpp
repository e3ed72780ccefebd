// NVIDIA's container toolkit: not needed by edge-gpu, but where it is it can break or open things.
#include <algorithm>

#include "doctor/check.h"
#include "doctor/config_text.h"
#include "doctor/proc_tables.h"
#include "doctor/runtime_files.h"

namespace egpu::doctor {
namespace {

constexpr const char* kConfig = "/etc/nvidia-container-runtime/config.toml";
constexpr Version kFixed0132{1, 16, 2};
constexpr Version kFixed23359{1, 17, 4};
constexpr Version kFixed23266{1, 17, 8};

std::optional<Version> toolkit_version(const Facts& facts) {
    for (const char* program : {"nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli"}) {
        const auto found = facts.versions.find(program);
        if (found == facts.versions.end()) continue;
        if (const auto version = first_version(found->second)) return version;
    }
    const auto status = facts.files->read("/var/lib/dpkg/status", 64U << 20);
    if (!status) return std::nullopt;
    for (const char* package :
         {"nvidia-container-toolkit",
          "nvidia-container-toolkit-base",
          "nvidia-container-runtime"}) {
        if (const auto version = first_version(dpkg_version(*status, package))) return version;
    }
    return std::nullopt;
}

std::string text_of(const Version& version) {
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
           std::to_string(version.patch);
}

// Is NVIDIA's runtime what every container goes through?
bool is_default_runtime(const Facts& facts, const NodeModel& node) {
    switch (node.runtime) {
        case RuntimeKind::kContainerd: {
            const auto* runtime = node.containerd.runtime(node.containerd.default_runtime);
            return runtime != nullptr &&
                   runtime->binary_name.find("nvidia-container-runtime") != std::string::npos;
        }
        case RuntimeKind::kDocker:
            return read_docker_config(*facts.files).default_runtime == "nvidia";
        case RuntimeKind::kCrio:
            return read_crio_config(*facts.files).default_runtime == "nvidia";
        case RuntimeKind::kNone:
            break;
    }
    return false;
}

bool is_configured(const Facts& facts, const NodeModel& node) {
    switch (node.runtime) {
        case RuntimeKind::kContainerd:
            return std::any_of(
                node.containerd.runtimes.begin(),
                node.containerd.runtimes.end(),
                [](const ContainerdRuntime& runtime) {
                    return runtime.binary_name.find("nvidia") != std::string::npos;
                }
            );
        case RuntimeKind::kDocker:
            return read_docker_config(*facts.files).runtimes.count("nvidia") != 0;
        case RuntimeKind::kCrio:
            return read_crio_config(*facts.files).runtimes.count("nvidia") != 0;
        case RuntimeKind::kNone:
            break;
    }
    return false;
}

void cve(const Version& version, Findings& out) {
    std::string open;
    if (version < kFixed0132) open += "CVE-2024-0132, ";
    if (version < kFixed23359) open += "CVE-2025-23359, ";
    if (version < kFixed23266) open += "CVE-2025-23266";
    if (open.empty()) return;
    if (open.ends_with(", ")) open.resize(open.size() - 2);
    Finding& finding = out.warning(
        "toolkit-cve", "nvidia-ctk --version", "version " + text_of(version) + ": " + open
    );
    finding.meaning = "a container image can become root on the node";
    finding.fix =
        "with edge-gpu's direct or cdi injection it is not needed: apt-get remove "
        "nvidia-container-toolkit "
        "nvidia-docker2, after its runtime is out of the container runtime's configuration\n"
        "or upgrade: apt-get install nvidia-container-toolkit   (1.17.8 or newer)";
}

void settings(const CheckContext& context, const json::value& config, Findings& out) {
    const bool is_default = is_default_runtime(context.facts, context.node);
    const bool used = is_default || context.node.agent.injection == "nvidia";
    if (used && json::get_bool(config, {"nvidia-container-cli", "no-cgroups"})) {
        Finding& finding = out.error("toolkit-no-cgroups", kConfig, "no-cgroups = true");
        finding.meaning =
            "containers get the device nodes but may not open them (a setting for rootless use)";
        finding.fix = std::string("sed -i 's/^no-cgroups *= *true/no-cgroups = false/' ") + kConfig;
    }
    if (is_default &&
        json::get_bool(config, {"accept-nvidia-visible-devices-envvar-when-unprivileged"}, true)) {
        Finding& finding = out.warning(
            "toolkit-env-bypass",
            kConfig,
            "NVIDIA's runtime is the default and takes NVIDIA_VISIBLE_DEVICES from any pod"
        );
        finding.meaning =
            "a pod that asks for no GPU can set NVIDIA_VISIBLE_DEVICES=all and use every card";
        finding.fix = std::string(
                          "make runc the default runtime (edge-gpu's direct and cdi injection need "
                          "no other)\n"
                          "or in "
                      ) +
                      kConfig +
                      ":\naccept-nvidia-visible-devices-envvar-when-unprivileged = "
                      "false\naccept-nvidia-visible-devices-as-volume-mounts = true\n"
                      "and run the agent with --device-list-strategy volume-mounts";
    }
}

}  // namespace

void check_toolkit(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    const FileView& files = *facts.files;
    const NodeModel& node = context.node;
    const bool runtime = find_program(files, "nvidia-container-runtime").has_value();
    const bool hook = find_program(files, "nvidia-container-runtime-hook").has_value() ||
                      find_program(files, "nvidia-container-toolkit").has_value();
    const bool cli = find_program(files, "nvidia-container-cli").has_value();
    if (node.agent.injection == "nvidia" && !is_configured(facts, node)) {
        Finding& finding = out.error(
            "injection-needs-nvidia-runtime",
            "the agent's flags, the runtime's configuration",
            "the agent runs with --injection nvidia, and no NVIDIA runtime is configured"
        );
        finding.meaning =
            "containers get an environment variable that nobody acts on: no GPU inside";
        finding.fix =
            "run the agent with --injection auto (it needs only the driver)\n"
            "or: apt-get install nvidia-container-toolkit && nvidia-ctk runtime configure";
        return;
    }
    if (!runtime && !hook && !cli) {
        out.ok("toolkit-absent", "nvidia-container-runtime", "not installed").meaning =
            "edge-gpu needs only the driver";
        return;
    }
    const auto text = files.read(kConfig);
    const auto config = text ? parse_toml(*text) : Result<json::value>(json::value(json::object()));
    if (!config) {
        Finding& finding = out.error("toolkit-config-broken", kConfig, config.error().message);
        finding.meaning = "NVIDIA's runtime refuses to start containers";
        finding.fix = std::string("nvidia-ctk config --in-place --config-file ") + kConfig +
                      "   after correcting the line";
        return;
    }
    const bool used = is_default_runtime(facts, node) || node.agent.injection == "nvidia";
    if (used && runtime && (!hook || !cli)) {
        Finding& finding = out.error(
            "toolkit-incomplete",
            "/usr/bin",
            std::string("there is nvidia-container-runtime without ") +
                (hook ? "nvidia-container-cli" : "nvidia-container-runtime-hook")
        );
        finding.meaning =
            "GPU containers fail: could not select device driver, or exec of the hook fails";
        finding.fix =
            "apt-get install --reinstall nvidia-container-toolkit libnvidia-container-tools";
    }
    settings(context, *config, out);
    const auto version = toolkit_version(facts);
    if (version) cve(*version, out);
    if (!out.empty()) return;
    out.ok(
        "toolkit", "nvidia-ctk --version", version ? "version " + text_of(*version) : "installed"
    );
}

}  // namespace egpu::doctor
