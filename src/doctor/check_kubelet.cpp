// The kubelet, the plugins registered with it, and SuperEdge's cache in front of the API server.
#include <algorithm>

#include "doctor/check.h"
#include "doctor/plugin_conflicts.h"
#include "doctor/runtime_files.h"
#include "gpu/driver.h"
#include "inject/choose.h"

namespace egpu::doctor {
namespace {

constexpr const char* kPluginSocket = "/var/lib/kubelet/device-plugins/kubelet.sock";
constexpr const char* kLiteAddress = "127.0.0.1:51003";

std::string unit_of(const Kubelet& kubelet, const NodeModel& node) {
    if (kubelet.distribution.empty()) return "kubelet";
    if (kubelet.distribution == "kubeedge") return "edgecore";
    if (kubelet.distribution == "microk8s") return "snap.microk8s.daemon-kubelite";
    return containerd_unit(node);
}

// The settings of the kubelet that switch device plugins off, or move what the agent looks for.
void settings(const CheckContext& context, Findings& out) {
    const Kubelet& kubelet = context.node.kubelet;
    const Agent& agent = context.node.agent;
    const std::string restart = "\nsystemctl restart " + unit_of(kubelet, context.node);
    for (const char* gate : {"DevicePlugins", "KubeletPodResources"}) {
        if (json::get_bool(kubelet.config, {"featureGates", gate}, true)) continue;
        Finding& finding = out.error(
            "kubelet-gate-off",
            kubelet.config_path,
            std::string("featureGates: ") + gate + ": false"
        );
        finding.meaning = gate == std::string_view("DevicePlugins")
                              ? "no device plugin can register: no GPU is offered"
                              : "the agent cannot learn whose container it serves";
        finding.fix = std::string("remove ") + gate + " from featureGates in " +
                      kubelet.config_path + restart;
    }
    if (agent.process == nullptr) return;
    const std::string agent_root =
        flag_value(*agent.process, "kubelet-root").value_or("/var/lib/kubelet");
    const auto socket = flag_value(*agent.process, "pod-resources-socket");
    if (!socket && agent_root != kubelet.root_dir) {
        Finding& finding = out.error(
            "agent-kubelet-root",
            "command lines of kubelet and agent",
            "the kubelet's --root-dir is " + kubelet.root_dir + ", the agent's --kubelet-root is " +
                agent_root
        );
        finding.meaning =
            "the agent asks a pod-resources socket that is not this kubelet's: shares land on the "
            "wrong card";
        finding.fix =
            "run the agent with --device-plugin-dir /var/lib/kubelet/device-plugins "
            "--kubelet-root " +
            kubelet.root_dir;
    }
    const bool old_for_cdi =
        agent.injection == "cdi" &&
        !json::get_bool(kubelet.config, {"featureGates", "DevicePluginCDIDevices"}, true);
    if (old_for_cdi) {
        Finding& finding = out.warning(
            "kubelet-cdi-gate-off",
            kubelet.config_path,
            "featureGates: DevicePluginCDIDevices: false"
        );
        finding.meaning = "the kubelet drops CDI device names from the agent's answers";
        finding.fix =
            "remove DevicePluginCDIDevices from featureGates in " + kubelet.config_path + restart;
    }
}

void sockets(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    const Kubelet& kubelet = context.node.kubelet;
    const std::string unit = unit_of(kubelet, context.node);
    for (const std::string& path :
         {std::string(kPluginSocket), kubelet.root_dir + "/pod-resources/kubelet.sock"}) {
        const auto state = facts.sockets.find(path);
        if (state == facts.sockets.end() || state->second.connects) continue;
        const bool plugins = path == kPluginSocket;
        Finding& finding = out.error(
            plugins ? "kubelet-socket-dead" : "pod-resources-dead",
            path,
            "does not answer: " + state->second.error
        );
        finding.meaning = plugins ? "device plugins cannot register: the node offers no GPU"
                                  : "the agent cannot learn whose container it serves";
        finding.fix = "systemctl restart " + unit + "\njournalctl -u " + unit + " -n 50";
    }
}

std::string described(const Kubelet& kubelet) {
    std::string text = kubelet.distribution.empty() ? "runs" : kubelet.distribution + " runs";
    if (kubelet.version) {
        text += ", 1." + std::to_string(kubelet.version->minor) + "." +
                std::to_string(kubelet.version->patch);
    }
    if (kubelet.root_dir != "/var/lib/kubelet") text += ", root " + kubelet.root_dir;
    for (const char* policy : {"cpuManagerPolicy", "topologyManagerPolicy"}) {
        const auto value = json::get_string(kubelet.config, {policy});
        if (!value.empty() && value != "none")
            text += ", " + std::string(policy) + " " + std::string(value);
    }
    return text;
}

}  // namespace

void check_kubelet(const CheckContext& context, Findings& out) {
    const Kubelet& kubelet = context.node.kubelet;
    if (!kubelet.expected) return out.skip("this machine is no Kubernetes node");
    if (!kubelet.config_error.empty()) {
        Finding& finding =
            out.error("kubelet-config-broken", kubelet.config_path, kubelet.config_error);
        finding.meaning = "the kubelet does not start with this file";
        finding.fix = "correct " + kubelet.config_path +
                      "; then: systemctl restart kubelet; journalctl -u kubelet -n 20";
        return;
    }
    if (kubelet.process == nullptr) {
        Finding& finding = out.error("kubelet-not-running", "/proc", "no kubelet runs");
        finding.meaning = "the node starts no pods";
        finding.fix =
            "systemctl status kubelet; journalctl -u kubelet -n 50\nsystemctl restart kubelet";
        return;
    }
    settings(context, out);
    sockets(context, out);
    if (out.empty())
        out.ok("kubelet", "its process, configuration and sockets", described(kubelet));
}

void check_plugins(const CheckContext& context, Findings& out) {
    if (!context.node.kubelet.expected) return out.skip("this machine is no Kubernetes node");
    const bool ours = context.node.agent.process != nullptr;
    for (const PluginConflict& other : plugin_conflicts(context.facts)) {
        const std::string id = other.nvidia ? "nvidia-plugin-present" : "nano-gpu-agent-present";
        Finding& finding = ours ? out.error(id, other.looked_at, other.found)
                                : out.info(id, other.looked_at, other.found);
        finding.meaning =
            ours ? std::string("two plugins offer ") +
                       (other.nvidia ? "nvidia.com/gpu" : "nano-gpu/gpu-percent") +
                       ": the kubelet listens to whoever registered last, cards are given twice"
                 : "it must be gone before edge-gpu's agent starts here";
        finding.fix = other.fix;
    }
    if (ours) {
        if (out.empty()) {
            out.ok(
                "agent",
                "/proc",
                "edge-gpu agent runs, pid " + std::to_string(context.node.agent.process->pid) +
                    ", injection " + context.node.agent.injection
            );
        }
        return;
    }
    const char* unit = "/etc/systemd/system/edge-gpu-agent.service";
    if (context.facts.files->exists(unit)) {
        Finding& finding =
            out.error("agent-not-running", unit, "the unit is installed and no agent runs");
        finding.meaning = "the node offers no GPU";
        finding.fix = "systemctl enable --now edge-gpu-agent\njournalctl -u edge-gpu-agent -n 50";
        return;
    }
    out.info("agent-absent", "/proc", "edge-gpu agent does not run here").meaning =
        "the node offers GPUs once it does";
}

void check_lite_apiserver(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    const bool configured = facts.files->exists("/etc/kubernetes/manifests/lite-apiserver.yaml") ||
                            facts.files->exists("/etc/systemd/system/lite-apiserver.service") ||
                            facts.files->exists("/usr/lib/systemd/system/lite-apiserver.service");
    const Process* process = find_process(facts, "lite-apiserver");
    if (!configured && process == nullptr) return out.skip("no SuperEdge node");
    const auto socket = facts.sockets.find(kLiteAddress);
    if (process == nullptr || (socket != facts.sockets.end() && !socket->second.connects)) {
        Finding& finding = out.error(
            "lite-apiserver-down",
            kLiteAddress,
            process == nullptr ? "lite-apiserver does not run"
                               : "does not answer: " + socket->second.error
        );
        finding.meaning =
            "kubelet and agent have no API server, neither live nor cached: nothing survives a "
            "reboot offline";
        finding.fix =
            "systemctl restart lite-apiserver\nor, as a static pod: crictl ps -a | grep "
            "lite-apiserver, then its logs";
        return;
    }
    const Agent& agent = context.node.agent;
    if (agent.process != nullptr && !agent.kubeconfig.empty()) {
        const auto text = facts.files->read(agent.kubeconfig);
        const bool through = !text || text->find(":51003") != std::string::npos;
        if (!through) {
            Finding& finding = out.warning(
                "agent-bypasses-lite-apiserver",
                agent.kubeconfig,
                "its server is not lite-apiserver (127.0.0.1:51003)"
            );
            finding.meaning =
                "while the cloud is unreachable the agent does not know the names of pods after a "
                "restart";
            finding.fix = "server: https://127.0.0.1:51003   in " + agent.kubeconfig +
                          "\nsystemctl restart edge-gpu-agent";
            return;
        }
    }
    out.ok("lite-apiserver", kLiteAddress, "answers");
}

void check_injection(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    const std::string looked = "the agent's flags, the runtime's configuration, the driver's files";
    if (node.agent.process != nullptr && node.agent.injection != "auto") {
        out.ok("injection", "the agent's flags", "--injection " + node.agent.injection);
        return;
    }
    const gpu::Driver driver = gpu::find_driver(
        SubView(*context.facts.files, node.driver_root), gpu::DriverHints{node.loaded_version}
    );
    inject::NodeFacts facts;
    facts.runtime = inject::look_at_runtime(*context.facts.files);
    facts.driver_usable = driver.usable();
    facts.driver = "driver" + (driver.version.empty() ? "" : " " + driver.version);
    const inject::Choice choice = inject::choose_injection(facts);
    out.ok("injection", looked, "`auto` is " + std::string(choice.strategy) + ": " + choice.why);
}

}  // namespace egpu::doctor
