// containerd: its configuration, its runtimes, CDI, and whether it answers.
#include <algorithm>

#include "doctor/check.h"
#include "doctor/runtime_files.h"
#include "doctor/runtime_socket.h"

namespace egpu::doctor {
namespace {

constexpr const char* kDynamicSpecs = "/var/run/cdi";
constexpr const char* kStaticSpecs = "/etc/cdi";

void containerd_runtimes(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    const ContainerdConfig& config = node.containerd;
    const std::string restart = "\nsystemctl restart " + containerd_unit(node);
    const bool known = config.runtime(config.default_runtime) != nullptr;
    if (!known && config.default_runtime != "runc") {
        Finding& finding = out.error(
            "containerd-default-runtime-unknown",
            config.path,
            "default_runtime_name = \"" + config.default_runtime + "\", which no section describes"
        );
        finding.meaning = "no pod without a RuntimeClass can start";
        finding.fix = "set default_runtime_name = \"runc\" in " + config.path + restart;
        return;
    }
    for (const ContainerdRuntime& runtime : config.runtimes) {
        if (runtime.binary_name.empty() || find_program(*context.facts.files, runtime.binary_name))
            continue;
        const bool used = runtime.name == config.default_runtime;
        const std::string found = "runtime \"" + runtime.name + "\" is " + runtime.binary_name +
                                  ", which is not there or not executable";
        Finding& finding = used ? out.error("containerd-runtime-missing", config.path, found)
                                : out.warning("containerd-runtime-missing", config.path, found);
        finding.meaning = used ? "it is the default: no pod can start"
                               : "pods with this RuntimeClass cannot start";
        finding.fix = "remove the section of \"" + runtime.name + "\" from " + config.path +
                      (used ? " and set default_runtime_name = \"runc\"" : "") +
                      " (edge-gpu does not need it)\nor install it: apt-get install "
                      "nvidia-container-toolkit" +
                      restart;
    }
}

void containerd_cdi(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    const ContainerdConfig& config = node.containerd;
    const bool wanted = node.agent.injection == "cdi";
    const std::string restart = "\nsystemctl restart " + containerd_unit(node);
    if (node.containerd_version && *node.containerd_version < Version{1, 7, 0}) {
        if (!wanted) return;
        Finding& finding = out.error(
            "containerd-no-cdi",
            "containerd --version",
            std::to_string(node.containerd_version->major) + "." +
                std::to_string(node.containerd_version->minor) +
                " knows no CDI, and the agent runs with --injection cdi"
        );
        finding.meaning = "GPU pods start without their card, or not at all";
        finding.fix =
            "run the agent with --injection direct\nor upgrade containerd to 1.7 or newer";
        return;
    }
    const bool by_default = node.containerd_version && node.containerd_version->major >= 2;
    if (!config.enable_cdi.value_or(by_default)) {
        const std::string found = config.enable_cdi ? "enable_cdi = false"
                                                    : "enable_cdi is not set (off in containerd 1)";
        Finding& finding = wanted ? out.error("containerd-cdi-off", config.path, found)
                                  : out.info("containerd-cdi-off", config.path, found);
        finding.meaning = wanted ? "the agent runs with --injection cdi: GPU pods start without "
                                   "their card, or not at all"
                                 : "CDI injection is not possible; `auto` uses direct injection, "
                                   "which needs nothing";
        const bool generated = !node.kubelet.distribution.empty();
        finding.fix = generated ? "the file is generated: put enable_cdi = true into its template "
                                  "(config.toml.tmpl beside it)" +
                                      restart
                                : "in [plugins.\"" + std::string(cri_plugin_name(config.version)) +
                                      "\"] of " + config.path + ": enable_cdi = true" + restart;
        if (wanted && !generated && config.exists) {  // what nothing needs is not changed
            finding.fix = "edge-gpu doctor --fix\nor " + finding.fix;
            finding.repair = Repair::kContainerdCdi;
        }
        return;
    }
    if (!config.cdi_spec_dirs || !wanted) return;
    const auto& dirs = *config.cdi_spec_dirs;
    const bool has = std::any_of(dirs.begin(), dirs.end(), [](const std::string& dir) {
        return dir == kDynamicSpecs || dir == "/run/cdi" || dir == "/var/run/cdi/";
    });
    if (has) return;
    Finding& finding =
        out.error("containerd-cdi-dirs", config.path, "cdi_spec_dirs does not name /var/run/cdi");
    finding.meaning = "the agent writes its specs there: containerd does not find the cards";
    finding.fix = std::string("cdi_spec_dirs = [\"") + kStaticSpecs + "\", \"" + kDynamicSpecs +
                  "\"] in " + config.path + restart;
}

}  // namespace

void check_containerd(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    if (node.runtime != RuntimeKind::kContainerd) return out.skip("not what runs pods here");
    const ContainerdConfig& config = node.containerd;
    const std::string restart = "\nsystemctl restart " + containerd_unit(node);
    if (!config.error.empty()) {
        Finding& finding = out.error("containerd-config-broken", config.error_file, config.error);
        finding.meaning = "containerd does not start with this file";
        finding.fix = "containerd -c " + config.path +
                      " config dump   shows the place; correct it, then:" + restart;
        return;
    }
    if (config.cri_disabled && node.kubelet.distribution.empty()) {
        Finding& finding =
            out.error("containerd-cri-disabled", config.path, "disabled_plugins has \"cri\"");
        finding.meaning = "the kubelet cannot use this containerd (Docker's package ships it so)";
        finding.fix = "remove \"cri\" from disabled_plugins in " + config.path + restart;
        return;
    }
    containerd_runtimes(context, out);
    const std::string socket = containerd_socket(node);
    if (out.empty() && does_not_answer(context.facts, socket)) {
        return runtime_down(context.facts, socket, "containerd", containerd_unit(node), out);
    }
    containerd_cdi(context, out);
    const bool fine = out.empty();
    if (!fine) return;
    out.ok(
        "containerd",
        config.exists ? config.path : "containerd's defaults",
        "version " + std::to_string(config.version) + " file, default runtime " +
            config.default_runtime +
            (config.files.size() > 1 ? ", " + std::to_string(config.files.size() - 1) + " import(s)"
                                     : "")
    );
}

}  // namespace egpu::doctor
