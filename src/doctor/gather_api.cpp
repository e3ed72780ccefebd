#include <cctype>
#include <cstdlib>
#include <ctime>

#include "doctor/gather.h"
#include "doctor/node_model.h"
#include "http/message.h"
#include "k8s/client.h"
#include "k8s/kubeconfig.h"

namespace egpu::doctor {
namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// A file named by a kubeconfig of the node, as seen from here.
void re_root(const FileView& files, const std::string& root, std::string& path) {
    if (path.empty() || root == "/") return;
    const auto real = files.resolve(path);
    path = root + (real ? *real : path);
}

Result<k8s::Config> of_node(
    const FileView& files, const std::string& root, const std::string& path
) {
    EG_TRY(const std::string text, files.read(path));
    const std::string folder = path.substr(0, path.rfind('/'));
    EG_TRY(k8s::Config config, k8s::parse_kubeconfig(text, folder));
    re_root(files, root, config.tls.ca_file);
    re_root(files, root, config.tls.cert_file);
    re_root(files, root, config.tls.key_file);
    re_root(files, root, config.token_file);
    config.source = path;
    return config;
}

// The first configuration that is there; its own error when it is there and wrong.
Result<k8s::Config> find_config(
    const NodeModel& node, const FileView& files, const GatherOptions& options
) {
    if (!options.kubeconfig.empty()) {
        auto config = k8s::load_kubeconfig(options.kubeconfig);
        if (config) config->source = options.kubeconfig;
        return config;
    }
    if (auto config = k8s::in_cluster_config(); config) return config;
    for (const std::string& path :
         {node.agent.kubeconfig,
          node.kubelet.kubeconfig,
          std::string("/etc/kubernetes/kubelet.conf"),
          std::string("/var/lib/rancher/k3s/agent/kubelet.kubeconfig")}) {
        if (!path.empty() && files.exists(path)) return of_node(files, options.root, path);
    }
    return Error{ErrorCode::kNotFound, "no kubeconfig"};
}

std::string find_node_name(
    const NodeModel& node, const FileView& files, const GatherOptions& options
) {
    if (!options.node_name.empty()) return options.node_name;
    if (const std::string name = environment("NODE_NAME"); !name.empty()) return name;
    if (node.agent.process != nullptr) {
        for (const char* flag : {"node-name", "nodename"}) {
            if (const auto name = flag_value(*node.agent.process, flag)) return *name;
        }
    }
    if (node.kubelet.process != nullptr) {
        if (const auto name = flag_value(*node.kubelet.process, "hostname-override")) return *name;
    }
    for (const char* path : {"/etc/hostname", "/proc/sys/kernel/hostname"}) {
        const auto text = files.read(path, 4096);
        if (!text) continue;
        std::string name = text->substr(0, text->find_first_of(" \n\t"));
        for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        if (!name.empty()) return name;
    }
    return "";
}

// This clock minus the server's, by its Date header (whole seconds).
std::optional<double> ahead_of(const std::string& date) {
    std::tm when{};
    if (::strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S", &when) == nullptr) return std::nullopt;
    return std::difftime(std::time(nullptr), ::timegm(&when));
}

}  // namespace

ApiFacts ask_api(const Facts& so_far, const FileView& files, const GatherOptions& options) {
    ApiFacts api;
    const NodeModel node = read_node(so_far);
    api.node_name = find_node_name(node, files, options);
    const auto config = find_config(node, files, options);
    if (!config) {
        api.asked = config.error().code != ErrorCode::kNotFound || !options.kubeconfig.empty();
        api.source = options.kubeconfig;
        if (api.asked) api.error = config.error().message;
        return api;
    }
    api.asked = true;
    api.source = config->source;
    api.server = config->server;
    k8s::ApiClientOptions client_options;
    client_options.user_agent = "edge-gpu-doctor";
    client_options.connect_timeout = Seconds(4);
    const auto client = k8s::Client::open(*config, client_options);
    if (!client) {
        api.error = client.error().message;
        return api;
    }
    const TimePoint deadline = MonoClock::now() + options.api_limit;
    k8s::ApiStatus status;
    k8s::Call call(deadline, &status);
    call.retry = false;
    auto object = client->get(k8s::node_path(api.node_name), call);
    api.clock_ahead_s = ahead_of(status.date);
    if (!object) {
        api.error = object.error().message;
        return api;
    }
    api.node = std::move(*object);
    // What this identity may not read is left out: the checks that need it say nothing.
    auto pods = client->list(
        "/api/v1/pods?fieldSelector=" + http::percent_encode("spec.nodeName=" + api.node_name), call
    );
    if (pods) api.pods = std::move(*pods);
    auto classes = client->list("/apis/node.k8s.io/v1/runtimeclasses", call);
    if (classes) api.runtime_classes = std::move(*classes);
    return api;
}

}  // namespace egpu::doctor
