// Docker and CRI-O: their configuration, and whether they answer; control groups.
#include <algorithm>

#include "doctor/check.h"
#include "doctor/runtime_files.h"
#include "doctor/runtime_socket.h"

namespace egpu::doctor {
namespace {

bool is_nvidia(std::string_view binary) {
    return binary.find("nvidia-container-runtime") != std::string_view::npos;
}

void docker_runtimes(
    const CheckContext& context, const DockerConfig& config, bool used, Findings& out
) {
    const auto add = [&](bool fatal, std::string_view id, std::string found) -> Finding& {
        return fatal ? out.error(id, kDockerConfig, std::move(found))
                     : out.warning(id, kDockerConfig, std::move(found));
    };
    const std::string restart = "\nsystemctl restart docker";
    const std::string& chosen = config.default_runtime;
    const bool known = config.runtimes.count(chosen) != 0 || chosen == "runc" || chosen.empty() ||
                       chosen.starts_with("io.containerd");
    if (!known) {
        Finding& finding =
            add(used,
                "docker-default-runtime-unknown",
                "default-runtime is \"" + chosen + "\", which \"runtimes\" does not have");
        finding.meaning = "dockerd does not start with this file";
        finding.fix = "remove \"default-runtime\" from " + std::string(kDockerConfig) +
                      " (edge-gpu does not need it), or add\n\"runtimes\": {\"nvidia\": {\"path\": "
                      "\"nvidia-container-runtime\", \"runtimeArgs\": []}}" +
                      restart;
    }
    for (const auto& [name, path] : config.runtimes) {
        if (path.empty() || find_program(*context.facts.files, path)) continue;
        const bool fatal = used && name == chosen;
        Finding& finding =
            add(fatal,
                "docker-runtime-missing",
                "runtime \"" + name + "\" is " + path + ", which is not there or not executable");
        finding.meaning = name == chosen ? "it is the default: no container can start"
                                         : "containers that ask for it cannot start";
        finding.fix = "remove it from \"runtimes\"" +
                      std::string(name == chosen ? " and \"default-runtime\"" : "") + " in " +
                      kDockerConfig +
                      " (edge-gpu does not need it)\nor install it: apt-get install "
                      "nvidia-container-toolkit" +
                      restart;
    }
}

}  // namespace

void check_docker(const CheckContext& context, Findings& out) {
    const Facts& facts = context.facts;
    const bool used = context.node.runtime == RuntimeKind::kDocker;
    const bool runs = find_process(facts, "dockerd") != nullptr;
    if (!used && !runs) return out.skip("not in use");
    const DockerConfig config = read_docker_config(*facts.files);
    if (!config.error.empty()) {
        Finding& finding = used ? out.error("docker-config-broken", kDockerConfig, config.error)
                                : out.warning("docker-config-broken", kDockerConfig, config.error);
        finding.meaning = "dockerd does not start with this file";
        finding.fix = "python3 -m json.tool " + std::string(kDockerConfig) +
                      "   shows the place; then: systemctl restart docker";
        return;
    }
    docker_runtimes(context, config, used, out);
    if (!out.empty()) return;
    if (used && does_not_answer(facts, kDockerSocket))
        return runtime_down(facts, kDockerSocket, "docker", "docker", out);
    const bool nvidia =
        std::any_of(config.runtimes.begin(), config.runtimes.end(), [](const auto& entry) {
            return is_nvidia(entry.second);
        });
    Finding& finding = out.ok(
        "docker",
        kDockerConfig,
        (config.exists ? "default runtime " +
                             (config.default_runtime.empty() ? "runc" : config.default_runtime)
                       : std::string("no file: Docker's defaults")) +
            (nvidia ? ", NVIDIA's runtime configured" : "")
    );
    if (!nvidia) finding.meaning = "edge-gpu needs no NVIDIA runtime (`docker run --gpus` would)";
}

void check_crio(const CheckContext& context, Findings& out) {
    if (context.node.runtime != RuntimeKind::kCrio) return out.skip("not what runs pods here");
    const CrioConfig config = read_crio_config(*context.facts.files);
    if (!config.error.empty()) {
        Finding& finding = out.error("crio-config-broken", config.error_file, config.error);
        finding.meaning = "CRI-O does not start with this file";
        finding.fix =
            "crio config --default   shows the format; correct it, then: systemctl restart crio";
        return;
    }
    for (const auto& [name, path] : config.runtimes) {
        if (path.empty() || find_program(*context.facts.files, path)) continue;
        const bool used = name == config.default_runtime;
        const std::string found =
            "runtime \"" + name + "\" is " + path + ", which is not there or not executable";
        Finding& finding = used ? out.error("crio-runtime-missing", "/etc/crio", found)
                                : out.warning("crio-runtime-missing", "/etc/crio", found);
        finding.meaning = "CRI-O does not start, or pods of this RuntimeClass do not";
        finding.fix = "remove [crio.runtime.runtimes." + name +
                      "] (edge-gpu does not need it)\nsystemctl restart crio";
    }
    if (config.runtimes.count(config.default_runtime) == 0 && config.default_runtime == "nvidia") {
        Finding& finding = out.error(
            "crio-default-runtime-unknown",
            "/etc/crio",
            "default_runtime = \"nvidia\", which no section describes"
        );
        finding.meaning = "CRI-O does not start";
        finding.fix = "set default_runtime = \"runc\" (or remove the line)\nsystemctl restart crio";
    }
    if (!out.empty()) return;
    if (does_not_answer(context.facts, kCrioSocket))
        return runtime_down(context.facts, kCrioSocket, "crio", "crio", out);
    out.ok("crio", "/etc/crio", "default runtime " + config.default_runtime);
}

void check_cgroup(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    const FileView& files = *context.facts.files;
    const bool v2 = files.exists("/sys/fs/cgroup/cgroup.controllers");
    const std::string version = v2 ? "cgroup v2" : "cgroup v1";
    const std::string driver = runtime_cgroup_driver(context.facts, node, v2);
    const std::string& kubelet = node.kubelet.cgroup_driver;
    const bool asks = node.kubelet.version && *node.kubelet.version >= Version{1, 31, 0} &&
                      ((node.runtime == RuntimeKind::kContainerd && node.containerd_version &&
                        node.containerd_version->major >= 2) ||
                       node.runtime == RuntimeKind::kCrio);
    if (node.kubelet.process != nullptr && !asks && !kubelet.empty() && !driver.empty() &&
        kubelet != driver) {
        Finding& finding = out.error(
            "cgroup-driver-mismatch",
            node.kubelet.config_path.empty() ? "kubelet's flags" : node.kubelet.config_path,
            "the kubelet uses " + kubelet + ", the container runtime " + driver
        );
        finding.meaning =
            "two managers of one hierarchy: pods fail to start, or lose their devices";
        finding.fix = node.runtime == RuntimeKind::kContainerd
                          ? "in [plugins.\"" +
                                std::string(cri_plugin_name(node.containerd.version)) +
                                "\".containerd.runtimes." + node.containerd.default_runtime +
                                ".options] of " + node.containerd.path +
                                ": SystemdCgroup = " + (kubelet == "systemd" ? "true" : "false") +
                                "\nsystemctl restart containerd kubelet"
                      : node.runtime == RuntimeKind::kDocker
                          ? "in " + std::string(kDockerConfig) +
                                ": \"exec-opts\": [\"native.cgroupdriver=" + kubelet +
                                "\"]\nsystemctl restart docker kubelet"
                          : "in /etc/crio/crio.conf, [crio.runtime]: cgroup_manager = \"" +
                                kubelet + "\"\nsystemctl restart crio kubelet";
        return;
    }
    const auto runc = context.facts.versions.find("runc");
    const auto runc_version =
        runc == context.facts.versions.end() ? std::nullopt : first_version(runc->second);
    out.ok(
        "cgroup",
        "/sys/fs/cgroup",
        version + (driver.empty() ? "" : ", driver " + driver) +
            (runc_version ? ", runc " + std::to_string(runc_version->major) + "." +
                                std::to_string(runc_version->minor) + "." +
                                std::to_string(runc_version->patch)
                          : "")
    );
}

}  // namespace egpu::doctor
