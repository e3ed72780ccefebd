#include "doctor/plugin_conflicts.h"

#include "doctor/node_model.h"

namespace egpu::doctor {
namespace {

// The pod's DaemonSet, "" when it has none.
std::string daemon_set(const json::value& pod) {
    const json::array* owners = json::get_array(pod, {"metadata", "ownerReferences"});
    if (owners == nullptr) return "";
    for (const json::value& owner : *owners) {
        if (json::get_string(owner, {"kind"}) == "DaemonSet") {
            return std::string(json::get_string(owner, {"name"}));
        }
    }
    return "";
}

// Does a container of the pod run this program? By image and command: names of pods are free.
bool runs(const json::value& pod, std::string_view image_part, std::string_view command) {
    const json::array* containers = json::get_array(pod, {"spec", "containers"});
    if (containers == nullptr) return false;
    for (const json::value& container : *containers) {
        if (json::get_string(container, {"image"}).find(image_part) != std::string_view::npos)
            return true;
        const json::array* words = json::get_array(container, {"command"});
        if (words == nullptr || words->empty() || !words->front().is_string()) continue;
        if (std::string_view(words->front().as_string()).ends_with(command)) return true;
    }
    return false;
}

bool over(const json::value& pod) {
    const std::string_view phase = json::get_string(pod, {"status", "phase"});
    return phase == "Succeeded" || phase == "Failed";
}

struct Kind {
    bool nvidia;
    const char* name;
    const char* image_part;
    const char* command;
};
constexpr Kind kKinds[] = {
    {true, "NVIDIA's device plugin", "k8s-device-plugin", "nvidia-device-plugin"},
    {false, "nano-gpu's agent", "nano-gpu-agent", "nano-gpu-agent"},
};

bool by_pods(const Facts& facts, const Kind& kind, std::vector<PluginConflict>& out) {
    const json::array* pods = json::get_array(facts.api.pods, {"items"});
    if (pods == nullptr) return false;
    for (const json::value& pod : *pods) {
        if (over(pod) || !runs(pod, kind.image_part, kind.command)) continue;
        const std::string ns(json::get_string(pod, {"metadata", "namespace"}));
        const std::string name(json::get_string(pod, {"metadata", "name"}));
        const std::string set = daemon_set(pod);
        PluginConflict conflict;
        conflict.nvidia = kind.nvidia;
        conflict.looked_at = "pods of this node";
        conflict.found = std::string(kind.name) + " runs as pod " + ns + "/" + name;
        conflict.fix = set.empty() ? "kubectl -n " + ns + " delete pod " + name
                                   : "kubectl -n " + ns + " delete daemonset " + set +
                                         "\nor keep it off this node by its nodeSelector";
        out.push_back(std::move(conflict));
        return true;
    }
    return false;
}

bool by_process(const Facts& facts, const Kind& kind, std::vector<PluginConflict>& out) {
    for (const Process& process : facts.processes) {
        const std::string started = process.args.empty() ? "" : process.args[0];
        const std::string base = started.substr(started.rfind('/') + 1);
        const bool ours = process.exe == "edge-gpu";  // may run under the name of what it replaces
        if (ours || (process.exe != kind.command && base != kind.command)) continue;
        PluginConflict conflict;
        conflict.nvidia = kind.nvidia;
        conflict.looked_at = "/proc";
        conflict.found = std::string(kind.name) + " runs, pid " + std::to_string(process.pid);
        conflict.fix =
            kind.nvidia ? "kubectl -n kube-system delete daemonset nvidia-device-plugin-daemonset"
                        : "kubectl -n kube-system delete daemonset nano-gpu-agent";
        out.push_back(std::move(conflict));
        return true;
    }
    return false;
}

}  // namespace

std::vector<PluginConflict> plugin_conflicts(const Facts& facts) {
    std::vector<PluginConflict> out;
    for (const Kind& kind : kKinds) {
        if (!by_pods(facts, kind, out)) by_process(facts, kind, out);
    }
    return out;
}

}  // namespace egpu::doctor
