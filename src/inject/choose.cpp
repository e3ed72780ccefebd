#include "inject/choose.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/json.h"

namespace egpu::inject {
namespace {

constexpr const char* kContainerd = "/etc/containerd/config.toml";
constexpr const char* kK3s = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
constexpr const char* kDocker = "/etc/docker/daemon.json";

std::string trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    return std::string(text);
}

// The few keys that matter, wherever they stand: their names are unique in containerd's and
// CRI-O's files.
struct TomlFacts {
    std::string version;
    Tri enable_cdi = Tri::kUnknown;
    std::string default_runtime;
    bool cri_disabled = false;
};

void read_toml(const std::string& text, TomlFacts& facts) {
    std::istringstream lines(text);
    for (std::string raw; std::getline(lines, raw);) {
        const std::string line = trimmed(std::string_view(raw).substr(0, raw.find('#')));
        const std::size_t equals = line.find('=');
        if (line.empty() || line[0] == '[' || equals == std::string::npos) continue;
        const std::string key = trimmed(std::string_view(line).substr(0, equals));
        std::string value = trimmed(std::string_view(line).substr(equals + 1));
        if (key == "disabled_plugins") {
            facts.cri_disabled = value.find("\"cri\"") != std::string::npos ||
                                 value.find("io.containerd.grpc.v1.cri") != std::string::npos;
        }
        std::erase_if(value, [](char c) { return c == '"' || c == '\''; });
        if (key == "version") facts.version = value;
        if (key == "enable_cdi") facts.enable_cdi = value == "true" ? Tri::kYes : Tri::kNo;
        if (key == "default_runtime_name" || key == "default_runtime")
            facts.default_runtime = value;
    }
}

TomlFacts read_tomls(const FileView& host, const std::vector<std::string>& files) {
    TomlFacts facts;
    for (const std::string& file : files) {
        if (const auto text = host.read(file)) read_toml(*text, facts);
    }
    return facts;
}

RuntimeFacts containerd(const FileView& host, const char* config) {
    RuntimeFacts facts;
    facts.kind = RuntimeKind::kContainerd;
    std::vector<std::string> files{config};
    if (config == std::string_view(kContainerd)) {
        for (auto& file : host.matching("/etc/containerd/conf.d/*.toml")) {
            files.push_back(std::move(file));
        }
    }
    if (!host.exists(config)) return facts;
    facts.config = config;
    const TomlFacts toml = read_tomls(host, files);
    facts.nvidia_is_default = toml.default_runtime.starts_with("nvidia");
    facts.cdi = toml.enable_cdi;
    // Configuration version 3 is of containerd 2, where CDI is on unless switched off.
    if (facts.cdi == Tri::kUnknown && toml.version == "3") facts.cdi = Tri::kYes;
    return facts;
}

RuntimeFacts crio(const FileView& host) {
    RuntimeFacts facts;
    facts.kind = RuntimeKind::kCrio;
    facts.cdi = Tri::kYes;  // always on
    facts.config = "/etc/crio";
    std::vector<std::string> files{"/etc/crio/crio.conf"};
    for (auto& file : host.matching("/etc/crio/crio.conf.d/*")) files.push_back(std::move(file));
    facts.nvidia_is_default = read_tomls(host, files).default_runtime.starts_with("nvidia");
    return facts;
}

RuntimeFacts docker(const FileView& host) {
    RuntimeFacts facts;
    facts.kind = RuntimeKind::kDocker;
    facts.cdi = Tri::kNo;  // neither dockershim nor cri-dockerd passes the names on
    const auto text = host.read(kDocker);
    if (!text) return facts;
    facts.config = kDocker;
    if (const auto config = json::parse(*text)) {
        facts.nvidia_is_default =
            json::get_string(*config, {"default-runtime"}).starts_with("nvidia");
    }
    return facts;
}

// What the kubelet was told, as text; "" when it cannot be seen.
std::string endpoint(const FileView& host) {
    for (const char* file :
         {"/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml"}) {
        const auto text = host.read(file);
        if (!text) continue;
        for (const std::string_view key :
             {"container-runtime-endpoint", "containerRuntimeEndpoint"}) {
            const std::size_t at = text->find(key);
            if (at != std::string::npos) return text->substr(at, text->find('\n', at) - at);
        }
    }
    return "";
}

const char* word(RuntimeKind kind) {
    switch (kind) {
        case RuntimeKind::kContainerd:
            return "containerd";
        case RuntimeKind::kCrio:
            return "CRI-O";
        case RuntimeKind::kDocker:
            return "Docker";
        case RuntimeKind::kUnknown:
            break;
    }
    return "the container runtime";
}

}  // namespace

RuntimeFacts look_at_runtime(const FileView& host) {
    const std::string told = endpoint(host);
    const auto says = [&](const char* name) { return told.find(name) != std::string::npos; };
    if (says("crio")) return crio(host);
    if (says("dockershim") || says("cri-dockerd") || says("docker.sock")) return docker(host);
    if (host.exists(kK3s)) return containerd(host, kK3s);
    if (says("containerd")) return containerd(host, kContainerd);
    if (host.exists("/run/crio/crio.sock")) return crio(host);
    // Docker brings a containerd along whose interface for the kubelet is off.
    if (host.exists("/run/docker.sock") && read_tomls(host, {kContainerd}).cri_disabled) {
        return docker(host);
    }
    if (host.exists("/run/containerd/containerd.sock") || host.exists(kContainerd)) {
        return containerd(host, kContainerd);
    }
    if (host.exists("/run/docker.sock") || host.exists(kDocker)) return docker(host);
    return {};
}

Choice choose_injection(const NodeFacts& facts) {
    const RuntimeFacts& runtime = facts.runtime;
    const std::string name = word(runtime.kind);
    const std::string seen = runtime.config.empty() ? "" : " (" + runtime.config + ")";
    if (facts.nvidia_configured) {
        return {"nvidia", "NVIDIA's device list or device id strategy was configured"};
    }
    if (!facts.driver_usable) {
        return {
            "nvidia",
            runtime.nvidia_is_default ? "the driver's libraries were not found below the driver "
                                        "root; NVIDIA's runtime is "
                                        "the default of " +
                                            name + seen
                                      : "the driver's libraries were not found below the driver "
                                        "root: containers get them "
                                        "only where NVIDIA's runtime runs them"};
    }
    if (runtime.cdi == Tri::kYes) {
        return {"cdi", name + seen + " injects CDI devices; " + facts.driver + " found"};
    }
    if (runtime.nvidia_is_default) {
        return {"nvidia", "NVIDIA's runtime is the default of " + name + seen + ", without CDI"};
    }
    const std::string cdi = runtime.cdi == Tri::kNo ? " does not inject CDI devices"
                                                    : " is not known to inject CDI devices";
    return {"direct", name + seen + cdi + "; " + facts.driver + " found"};
}

}  // namespace egpu::inject
