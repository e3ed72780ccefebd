#include "k8s/kubeconfig.h"

#include <charconv>
#include <cstdlib>

#include <yaml-cpp/yaml.h>

#include "base/base64.h"
#include "base/files.h"

namespace egpu::k8s {

namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMaxFile = 1U << 20;

Error bad(const std::string& why) {
    return Error{ErrorCode::kInvalid, "kubeconfig: " + why};
}

// One section (cluster, user, context) with readers that name the field when it is wrong.
class Section {
  public:
    Section(YAML::Node node, std::string label)
        : node_(std::move(node)), label_(std::move(label)) {}

    bool has(const char* key) const {
        const YAML::Node field = node_[key];
        return field.IsDefined() && !field.IsNull();
    }
    Result<std::string> text(const char* key) const {
        if (!has(key)) return std::string();
        const YAML::Node field = node_[key];
        if (!field.IsScalar()) return bad(label_ + ": " + key + " must be text");
        return field.Scalar();
    }
    Result<bool> flag(const char* key) const {
        EG_TRY(const std::string value, text(key));
        if (value.empty() || value == "false" || value == "False") return false;
        if (value == "true" || value == "True") return true;
        return bad(label_ + ": " + key + " must be true or false");
    }
    // `key`-data (base64 PEM) wins over `key` (a file), as in client-go.
    Status pem_or_file(const char* key, const fs::path& base, std::string& pem, std::string& file)
        const {
        const std::string data_key = std::string(key) + "-data";
        EG_TRY(const std::string data, text(data_key.c_str()));
        if (!data.empty()) {
            auto decoded = base64_decode(data);
            if (!decoded) return bad(label_ + ": " + data_key + " is not base64");
            pem = std::move(*decoded);
            return ok_status();
        }
        EG_TRY(const std::string path, text(key));
        if (!path.empty()) file = (base / path).lexically_normal().string();
        return ok_status();
    }
    const std::string& label() const { return label_; }

  private:
    YAML::Node node_;
    std::string label_;
};

// The entry of that name in `list` ("clusters": [{name, cluster: {…}}]).
Result<Section> find_entry(
    const YAML::Node& root, const char* list, const char* inner, const std::string& name
) {
    const YAML::Node entries = root[list];
    const bool present = entries.IsDefined() && !entries.IsNull();
    if (present && !entries.IsSequence()) return bad(std::string(list) + " must be a list");
    for (std::size_t i = 0; present && i < entries.size(); ++i) {
        const YAML::Node entry = entries[i];
        if (!entry.IsMap()) return bad(std::string("an entry of ") + list + " is no map");
        const YAML::Node entry_name = entry["name"];
        if (!entry_name.IsScalar() || entry_name.Scalar() != name) continue;
        const YAML::Node content = entry[inner];
        const std::string label = std::string(inner) + " \"" + name + "\"";
        if (content.IsDefined() && content.IsMap()) return Section(content, label);
        if (!content.IsDefined() || content.IsNull()) {
            return Section(YAML::Node(YAML::NodeType::Map), label);
        }
        return bad(label + " is no map");
    }
    return bad(std::string("there is no ") + inner + " named \"" + name + "\" under " + list);
}

Status read_cluster(const Section& cluster, const fs::path& base, Config& config) {
    EG_TRY(config.server, cluster.text("server"));
    if (config.server.empty()) return bad(cluster.label() + " has no server");
    if (auto url = http::parse_url(config.server); !url) {
        return bad(cluster.label() + ": server " + url.error().message);
    }
    EG_TRY(const std::string proxy, cluster.text("proxy-url"));
    if (!proxy.empty()) {
        return bad(
            cluster.label() +
            " uses proxy-url, which edge-gpu does not support; connect to the API "
            "server directly and remove it"
        );
    }
    EG_TRY(config.tls.insecure, cluster.flag("insecure-skip-tls-verify"));
    EG_TRY(config.tls.server_name, cluster.text("tls-server-name"));
    return cluster.pem_or_file(
        "certificate-authority", base, config.tls.ca_pem, config.tls.ca_file
    );
}

Status read_user(const Section& user, const fs::path& base, Config& config) {
    if (user.has("exec") || user.has("auth-provider")) {
        const char* which = user.has("exec") ? "exec" : "auth-provider";
        return bad(
            user.label() + " gets its credentials from a plugin (" + which +
            "), which edge-gpu does not run; use a token, tokenFile or client certificate, for "
            "example of a ServiceAccount"
        );
    }
    EG_TRY(config.token, user.text("token"));
    EG_TRY(const std::string token_file, user.text("tokenFile"));
    if (!token_file.empty()) config.token_file = (base / token_file).lexically_normal().string();
    EG_TRY(config.username, user.text("username"));
    EG_TRY(config.password, user.text("password"));
    EG_TRY_VOID(
        user.pem_or_file("client-certificate", base, config.tls.cert_pem, config.tls.cert_file)
    );
    EG_TRY_VOID(user.pem_or_file("client-key", base, config.tls.key_pem, config.tls.key_file));
    const bool cert = !config.tls.cert_pem.empty() || !config.tls.cert_file.empty();
    const bool key = !config.tls.key_pem.empty() || !config.tls.key_file.empty();
    if (cert != key) {
        return bad(
            user.label() + (cert ? " has a client-certificate but no client-key"
                                 : " has a client-key but no client-certificate")
        );
    }
    return ok_status();
}

Result<Config> read_root(
    const YAML::Node& root, const fs::path& base, std::string_view wanted_context
) {
    if (!root.IsMap()) return bad("is no YAML map");
    Config config;
    const Section top(root, "the file");
    std::string context_name(wanted_context);
    if (context_name.empty()) {
        EG_TRY(context_name, top.text("current-context"));
    }
    if (context_name.empty()) {
        return bad("current-context is not set; choose one with kubectl config use-context");
    }
    EG_TRY(const Section context, find_entry(root, "contexts", "context", context_name));
    EG_TRY(const std::string cluster_name, context.text("cluster"));
    EG_TRY(const std::string user_name, context.text("user"));
    EG_TRY(const std::string ns, context.text("namespace"));
    if (!ns.empty()) config.ns = ns;
    if (cluster_name.empty()) return bad(context.label() + " names no cluster");
    EG_TRY(const Section cluster, find_entry(root, "clusters", "cluster", cluster_name));
    EG_TRY_VOID(read_cluster(cluster, base, config));
    if (!user_name.empty()) {
        EG_TRY(const Section user, find_entry(root, "users", "user", user_name));
        EG_TRY_VOID(read_user(user, base, config));
    }
    return config;
}

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : value;
}

}  // namespace

Result<Config> parse_kubeconfig(
    std::string_view text, const std::filesystem::path& base, std::string_view context
) {
    if (text.size() > kMaxFile) return bad("is larger than 1 MiB");
    try {
        return read_root(YAML::Load(std::string(text)), base, context);
    } catch (const std::exception& e) {
        return bad(std::string("is not valid YAML: ") + e.what());
    }
}

Result<Config> load_kubeconfig(const std::filesystem::path& path, std::string_view context) {
    EG_TRY(const std::string text, read_file(path, kMaxFile));
    std::error_code ignored;
    const fs::path absolute = fs::absolute(path, ignored);
    auto config = parse_kubeconfig(text, absolute.parent_path(), context);
    if (!config) return config.error().wrap(path.string());
    config->source = path.string();
    return config;
}

Result<Config> in_cluster_config(const std::filesystem::path& root) {
    const std::string host = environment("KUBERNETES_SERVICE_HOST");
    const std::string port = environment("KUBERNETES_SERVICE_PORT");
    if (host.empty() || port.empty()) {
        return Error{
            ErrorCode::kNotFound,
            "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"};
    }
    const fs::path folder =
        root.empty() ? fs::path("/var/run/secrets/kubernetes.io/serviceaccount") : root;
    Config config;
    config.source = "in-cluster";
    const bool v6 = host.find(':') != std::string::npos;
    config.server = "https://" + (v6 ? "[" + host + "]" : host) + ":" + port;
    if (auto url = http::parse_url(config.server); !url) {
        return url.error().wrap("KUBERNETES_SERVICE_HOST and _PORT");
    }
    config.token_file = (folder / "token").string();
    config.tls.ca_file = (folder / "ca.crt").string();
    std::error_code error;
    if (!fs::exists(config.token_file, error)) {
        return Error{
            ErrorCode::kNotFound,
            config.token_file +
                " does not exist; does the pod have a "
                "ServiceAccount with its token mounted?"};
    }
    if (auto ns = read_file(folder / "namespace", 4096); ns && !ns->empty()) {
        config.ns = ns->substr(0, ns->find_first_of(" \r\n\t"));
    }
    return config;
}

Result<Config> default_config(const std::filesystem::path& path) {
    if (!path.empty()) return load_kubeconfig(path);
    std::string tried;
    std::string list = environment("KUBECONFIG");
    while (!list.empty()) {
        const std::size_t colon = list.find(':');
        const std::string one = list.substr(0, colon);
        list = colon == std::string::npos ? "" : list.substr(colon + 1);
        std::error_code error;
        if (!one.empty() && fs::exists(one, error)) return load_kubeconfig(one);
        if (!one.empty()) tried += "$KUBECONFIG: " + one + " does not exist; ";
    }
    auto inside = in_cluster_config();
    if (inside || inside.error().code != ErrorCode::kNotFound) return inside;
    tried += inside.error().message + "; ";
    const fs::path home = fs::path(environment("HOME")) / ".kube/config";
    std::error_code error;
    if (fs::exists(home, error)) return load_kubeconfig(home);
    return Error{
        ErrorCode::kNotFound,
        "no way to reach an API server: " + tried + home.string() +
            " does not exist; give --kubeconfig"};
}

}  // namespace egpu::k8s
