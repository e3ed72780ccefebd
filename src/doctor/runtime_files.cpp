#include "doctor/runtime_files.h"

#include "doctor/config_text.h"

namespace egpu::doctor {
namespace {

void read_crio_file(const FileView& files, const std::string& path, CrioConfig& config) {
    const auto text = files.read(path);
    const auto parsed = text ? parse_toml(*text) : Result<json::value>(text.error());
    if (!parsed) {
        config.error_file = path;
        config.error = parsed.error().message;
        return;
    }
    const auto chosen = json::get_string(*parsed, {"crio", "runtime", "default_runtime"});
    if (!chosen.empty()) config.default_runtime = chosen;
    const auto manager = json::get_string(*parsed, {"crio", "runtime", "cgroup_manager"});
    if (!manager.empty()) config.cgroup_manager = manager;
    if (const json::object* runtimes = json::get_object(*parsed, {"crio", "runtime", "runtimes"})) {
        for (const auto& [name, value] : *runtimes) {
            config.runtimes[name] = std::string(json::get_string(value, {"runtime_path"}));
        }
    }
}

}  // namespace

DockerConfig read_docker_config(const FileView& files) {
    DockerConfig config;
    const auto text = files.read(kDockerConfig);
    if (!text) {
        if (text.error().code != ErrorCode::kNotFound) config.error = text.error().message;
        return config;
    }
    config.exists = true;
    const auto parsed = json::parse(*text);
    if (!parsed || !parsed->is_object()) {
        config.error = parsed ? "not a JSON object" : "not JSON: " + parsed.error().message;
        return config;
    }
    config.default_runtime = json::get_string(*parsed, {"default-runtime"});
    if (const json::object* runtimes = json::get_object(*parsed, {"runtimes"})) {
        for (const auto& [name, value] : *runtimes) {
            config.runtimes[name] = std::string(json::get_string(value, {"path"}));
        }
    }
    if (const json::array* options = json::get_array(*parsed, {"exec-opts"})) {
        for (const json::value& option : *options) {
            constexpr std::string_view key = "native.cgroupdriver=";
            if (!option.is_string()) continue;
            const std::string_view value = option.as_string();
            if (value.starts_with(key)) config.cgroup_driver = value.substr(key.size());
        }
    }
    return config;
}

CrioConfig read_crio_config(const FileView& files) {
    CrioConfig config;
    if (files.exists("/etc/crio/crio.conf")) read_crio_file(files, "/etc/crio/crio.conf", config);
    const auto names = files.list("/etc/crio/crio.conf.d");
    if (!names) return config;
    for (const std::string& name : *names) {
        if (!config.error.empty()) return config;
        read_crio_file(files, "/etc/crio/crio.conf.d/" + name, config);
    }
    return config;
}

std::string containerd_socket(const NodeModel& node) {
    if (node.kubelet.distribution == "microk8s")
        return "/var/snap/microk8s/common/run/containerd.sock";
    if (node.runtime == RuntimeKind::kContainerd && !node.kubelet.runtime_endpoint.empty()) {
        return node.kubelet.runtime_endpoint;
    }
    return "/run/containerd/containerd.sock";
}

std::string containerd_unit(const NodeModel& node) {
    const std::string& distribution = node.kubelet.distribution;
    if (distribution == "k3s" || distribution == "rke2") {
        const bool server = node.kubelet.process != nullptr &&
                            node.kubelet.process->args.size() > 1 &&
                            node.kubelet.process->args[1] == "server";
        if (distribution == "k3s") return server ? "k3s" : "k3s-agent";
        return server ? "rke2-server" : "rke2-agent";
    }
    return distribution == "microk8s" ? "snap.microk8s.daemon-containerd" : "containerd";
}

std::string runtime_cgroup_driver(const Facts& facts, const NodeModel& node, bool cgroup_v2) {
    switch (node.runtime) {
        case RuntimeKind::kContainerd: {
            if (!node.kubelet.distribution.empty()) return "";  // it sets both sides itself
            const ContainerdRuntime* runtime =
                node.containerd.runtime(node.containerd.default_runtime);
            return runtime != nullptr && runtime->systemd_cgroup ? "systemd" : "cgroupfs";
        }
        case RuntimeKind::kDocker: {
            const DockerConfig config = read_docker_config(*facts.files);
            if (!config.cgroup_driver.empty()) return config.cgroup_driver;
            return cgroup_v2 ? "systemd" : "cgroupfs";
        }
        case RuntimeKind::kCrio:
            return read_crio_config(*facts.files).cgroup_manager;
        case RuntimeKind::kNone:
            break;
    }
    return "";
}

}  // namespace egpu::doctor
