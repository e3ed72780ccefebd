#include "doctor/node_model.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "doctor/config_text.h"
#include "gpu/driver.h"

namespace egpu::doctor {
namespace {

std::string trimmed(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
        text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
        text.remove_suffix(1);
    return std::string(text);
}

std::string base_name(std::string_view path) {
    return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 == 0
}

std::string one_line(const FileView& files, const std::string& path) {
    const auto text = files.read(path, 64U << 10);
    return text ? trimmed(*text) : "";
}

void read_pci(const FileView& files, NodeModel& node) {
    const std::string folder = "/sys/bus/pci/devices";
    const auto names = files.list(folder);
    if (!names) return;
    for (const std::string& name : *names) {
        const std::string device = folder + "/" + name;
        if (one_line(files, device + "/vendor") != "0x10de") continue;
        const std::string kind = one_line(files, device + "/class");
        if (kind.starts_with("0x0680")) ++node.nvswitches;  // a bridge: NVSwitch
        if (!kind.starts_with("0x0300") && !kind.starts_with("0x0302")) continue;
        PciGpu gpu;
        gpu.address = name;
        const std::string id = one_line(files, device + "/device");
        gpu.device = "10de:" + (id.starts_with("0x") ? id.substr(2) : id);
        if (const auto driver = files.look_at_link(device + "/driver")) {
            gpu.driver = base_name(driver->target);
        }
        node.gpus.push_back(std::move(gpu));
    }
}

void read_platform(const FileView& files, NodeModel& node) {
    node.wsl = files.exists("/dev/dxg");
    node.tegra = files.exists("/etc/nv_tegra_release") ||
                 one_line(files, "/sys/devices/soc0/family").starts_with("Tegra");
    node.kernel = one_line(files, "/proc/sys/kernel/osrelease");
    if (const auto modules = files.read("/proc/modules", 4U << 20)) {
        std::string_view rest = *modules;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find('\n'), rest.size());
            const std::string_view line = rest.substr(0, end);
            const std::string_view name = line.substr(0, line.find(' '));
            if (!name.empty()) node.modules.emplace_back(name);
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    } else if (auto names = files.list("/sys/module")) {
        node.modules = std::move(*names);  // a kernel that loads none: all are built in
    }
    node.loaded_version = gpu::loaded_module_version(files);
}

void find_driver_root(const Facts& facts, NodeModel& node) {
    if (!facts.driver_root.empty()) {
        node.driver_root = facts.driver_root;
        return;
    }
    const char* container = "/run/nvidia/driver";
    const FileView& files = *facts.files;
    const bool on_host = !library_version(files, "/", "libnvidia-ml.so.1").empty();
    if (!on_host && !library_version(files, container, "libnvidia-ml.so.1").empty()) {
        node.driver_root = container;
    }
}

const char* distribution_of(const Process& process) {
    const std::string name = process.args.empty() ? "" : base_name(process.args[0]);
    const std::string verb = process.args.size() > 1 ? process.args[1] : "";
    if (name == "k3s" && (verb == "server" || verb == "agent")) return "k3s";
    if (name == "k3s-server" || name == "k3s-agent") return "k3s";
    if (name == "rke2" && (verb == "server" || verb == "agent")) return "rke2";
    if (name == "kubelite") return "microk8s";
    if (name == "edgecore") return "kubeedge";
    return nullptr;
}

std::string socket_path(std::string endpoint) {
    if (endpoint.starts_with("unix://")) endpoint.erase(0, 7);
    return endpoint.starts_with('/') ? endpoint : "";
}

void read_kubelet_config(const Facts& facts, Kubelet& kubelet) {
    kubelet.config_path = kubelet.root_dir + "/config.yaml";
    if (kubelet.process != nullptr) {
        if (const auto path = flag_value(*kubelet.process, "config")) kubelet.config_path = *path;
    }
    const auto text = facts.files->read(kubelet.config_path);
    if (!text) {
        if (text.error().code != ErrorCode::kNotFound) kubelet.config_error = text.error().message;
        if (kubelet.process != nullptr && flag_value(*kubelet.process, "config")) {
            kubelet.config_error = text.error().message;
        }
        kubelet.config_path = kubelet.config_error.empty() ? "" : kubelet.config_path;
        return;
    }
    auto parsed = parse_yaml(*text);
    if (!parsed) {
        kubelet.config_error = parsed.error().message;
    } else if (!parsed->is_object()) {
        kubelet.config_error = "not a KubeletConfiguration";
    } else {
        kubelet.config = std::move(*parsed);
    }
}

void read_kubelet(const Facts& facts, NodeModel& node) {
    Kubelet& kubelet = node.kubelet;
    kubelet.process = find_process(facts, "kubelet");
    for (const Process& process : facts.processes) {
        if (const char* distribution = distribution_of(process)) {
            kubelet.distribution = distribution;
            if (kubelet.process == nullptr) kubelet.process = &process;
        }
    }
    const auto flag = [&kubelet](std::string_view name) {
        return kubelet.process == nullptr ? std::nullopt : flag_value(*kubelet.process, name);
    };
    const bool own_kubelet = kubelet.process != nullptr && kubelet.distribution.empty();
    if (own_kubelet) kubelet.root_dir = flag("root-dir").value_or(kubelet.root_dir);
    kubelet.expected = kubelet.process != nullptr ||
                       facts.files->exists("/etc/kubernetes/kubelet.conf") ||
                       facts.files->exists("/var/lib/kubelet/config.yaml");
    read_kubelet_config(facts, kubelet);
    kubelet.runtime_endpoint = socket_path(
        flag("container-runtime-endpoint")
            .value_or(std::string(json::get_string(kubelet.config, {"containerRuntimeEndpoint"})))
    );
    if (kubelet.runtime_endpoint.empty() &&
        (kubelet.distribution == "k3s" || kubelet.distribution == "rke2")) {
        kubelet.runtime_endpoint = "/run/k3s/containerd/containerd.sock";
    }
    kubelet.kubeconfig = flag("kubeconfig").value_or("");
    const auto version = facts.versions.find("kubelet");
    if (version != facts.versions.end()) kubelet.version = first_version(version->second);
    if (!kubelet.version) {
        kubelet.version =
            first_version(json::get_string(facts.api.node, {"status", "nodeInfo", "kubeletVersion"})
            );
    }
    if (own_kubelet) {
        kubelet.cgroup_driver =
            flag("cgroup-driver")
                .value_or(std::string(json::get_string(kubelet.config, {"cgroupDriver"})));
        if (kubelet.cgroup_driver.empty()) kubelet.cgroup_driver = "cgroupfs";
    }
}

RuntimeKind runtime_of(const Facts& facts, const Kubelet& kubelet) {
    const std::string& endpoint = kubelet.runtime_endpoint;
    if (endpoint.find("docker") != std::string::npos) return RuntimeKind::kDocker;
    if (endpoint.find("crio") != std::string::npos) return RuntimeKind::kCrio;
    if (endpoint.find("containerd") != std::string::npos) return RuntimeKind::kContainerd;
    // Before 1.24 a kubelet without an endpoint talks to Docker.
    const bool dockershim = kubelet.process != nullptr && kubelet.distribution.empty() &&
                            endpoint.empty() && kubelet.version &&
                            *kubelet.version < Version{1, 24, 0};
    if (dockershim) return RuntimeKind::kDocker;
    if (find_process(facts, "crio") != nullptr) return RuntimeKind::kCrio;
    if (find_process(facts, "dockerd") != nullptr) return RuntimeKind::kDocker;
    if (find_process(facts, "containerd") != nullptr) return RuntimeKind::kContainerd;
    if (!kubelet.expected) return RuntimeKind::kNone;
    if (facts.files->exists("/etc/containerd/config.toml")) return RuntimeKind::kContainerd;
    if (facts.files->exists("/etc/docker/daemon.json")) return RuntimeKind::kDocker;
    if (facts.files->exists("/etc/crio/crio.conf")) return RuntimeKind::kCrio;
    return RuntimeKind::kNone;
}

void read_containerd(const Facts& facts, NodeModel& node) {
    const auto version = facts.versions.find("containerd");
    if (version != facts.versions.end()) node.containerd_version = first_version(version->second);
    std::string path = "/etc/containerd/config.toml";
    if (node.kubelet.distribution == "k3s") {
        path = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
    } else if (node.kubelet.distribution == "rke2") {
        path = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml";
    } else if (node.kubelet.distribution == "microk8s") {
        path = "/var/snap/microk8s/current/args/containerd.toml";
    } else if (const Process* process = find_process(facts, "containerd")) {
        if (const auto given = flag_value(*process, "config")) path = *given;
        if (const auto given = flag_value(*process, "c")) path = *given;
    }
    const bool merges = node.containerd_version && node.containerd_version->major >= 2;
    node.containerd = read_containerd_config(*facts.files, path, merges);
}

void read_agent(const Facts& facts, NodeModel& node) {
    for (const Process& process : facts.processes) {
        const bool ours = process.exe == "edge-gpu" ||
                          (!process.args.empty() && base_name(process.args[0]) == "edge-gpu");
        const bool verb = process.args.size() > 1 && process.args[1] == "agent";
        const bool alias = !process.args.empty() && base_name(process.args[0]) == "nano-gpu-agent";
        if (!ours || (!verb && !alias)) continue;
        node.agent.process = &process;
        node.agent.injection = flag_value(process, "injection").value_or("auto");
        node.agent.kubeconfig = flag_value(process, "kubeconfig").value_or("");
        return;
    }
}

}  // namespace

std::optional<Version> first_version(std::string_view text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
        const bool digit = text[at] >= '0' && text[at] <= '9';
        const bool starts = at == 0 || !std::isalnum(static_cast<unsigned char>(text[at - 1])) ||
                            text[at - 1] == 'v';
        if (!digit || !starts || (at > 0 && text[at - 1] == '.')) continue;
        unsigned parts[3] = {};
        int count = 0;
        const char* from = text.data() + at;
        const char* const end = text.data() + text.size();
        while (count < 3) {
            const auto parsed = std::from_chars(from, end, parts[count]);
            if (parsed.ec != std::errc{}) break;
            ++count;
            from = parsed.ptr;
            if (from == end || *from != '.') break;
            ++from;
        }
        if (count >= 2) return Version{parts[0], parts[1], parts[2]};
    }
    return std::nullopt;
}

std::optional<std::string> flag_value(const Process& process, std::string_view name) {
    for (std::size_t i = 1; i < process.args.size(); ++i) {
        std::string_view arg = process.args[i];
        if (!arg.starts_with('-')) continue;
        arg.remove_prefix(arg.starts_with("--") ? 2 : 1);
        if (!arg.starts_with(name)) continue;
        arg.remove_prefix(name.size());
        if (arg.starts_with('=')) return std::string(arg.substr(1));
        if (!arg.empty()) continue;
        const bool value_follows =
            i + 1 < process.args.size() && !process.args[i + 1].starts_with('-');
        return value_follows ? process.args[i + 1] : "";
    }
    return std::nullopt;
}

bool NodeModel::module_loaded(std::string_view module) const {
    return std::find(modules.begin(), modules.end(), module) != modules.end();
}

const Process* find_process(const Facts& facts, std::string_view name) {
    for (const Process& process : facts.processes) {
        if (process.exe == name) return &process;
        if (!process.args.empty() && base_name(process.args[0]) == name) return &process;
    }
    return nullptr;
}

std::optional<std::string> find_program(const FileView& files, std::string_view name) {
    const auto runs = [&files](const std::string& path) {
        const auto info = files.look(path);
        return info && info->type == FileType::kRegular && (info->mode & 0111U) != 0;
    };
    if (name.starts_with('/')) {
        return runs(std::string(name)) ? std::optional(std::string(name)) : std::nullopt;
    }
    for (const char* folder :
         {"/usr/local/sbin",
          "/usr/local/bin",
          "/usr/sbin",
          "/usr/bin",
          "/sbin",
          "/bin",
          "/usr/local/nvidia/toolkit",
          "/var/lib/rancher/k3s/data/current/bin",
          "/snap/microk8s/current/bin"}) {
        const std::string path = std::string(folder) + "/" + std::string(name);
        if (runs(path)) return path;
    }
    return std::nullopt;
}

std::string library_version(
    const FileView& files, const std::string& driver_root, std::string_view soname
) {
    const auto version_in = [](const std::string& path) {
        const std::size_t at = path.rfind(".so.");
        return at == std::string::npos ? std::string("?") : path.substr(at + 4);
    };
    const SubView root(files, driver_root);
    // As the loader finds it: whatever the SONAME's link says, be it of another driver.
    for (const char* folder :
         {"/usr/lib/x86_64-linux-gnu",
          "/usr/lib/aarch64-linux-gnu",
          "/usr/lib64",
          "/lib/x86_64-linux-gnu",
          "/lib/aarch64-linux-gnu",
          "/lib64"}) {
        const auto real = root.resolve(std::string(folder) + "/" + std::string(soname));
        if (real) return version_in(*real);
    }
    for (const gpu::DriverLibrary& library : gpu::find_driver(root).libraries) {
        const auto& names = library.names;
        if (!library.is_32bit && std::find(names.begin(), names.end(), soname) != names.end()) {
            return version_in(library.path);
        }
    }
    return "";
}

NodeModel read_node(const Facts& facts) {
    NodeModel node;
    node.name = facts.api.node_name.empty() ? one_line(*facts.files, "/proc/sys/kernel/hostname")
                                            : facts.api.node_name;
    read_pci(*facts.files, node);
    read_platform(*facts.files, node);
    find_driver_root(facts, node);
    read_kubelet(facts, node);
    node.runtime = runtime_of(facts, node.kubelet);
    read_containerd(facts, node);
    read_agent(facts, node);
    return node;
}

}  // namespace egpu::doctor
