#include "testing/apiserver/api_server.h"

#include "base/files.h"
#include "testing/apiserver/api_server_state.h"
#include "testing/apiserver/fault_state.h"

namespace egpu::testing {

ApiServer::ApiServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

ApiServer::~ApiServer() {
    stop();
}

Result<std::unique_ptr<ApiServer>> ApiServer::start(ApiServerOptions options) {
    if (options.tls_cert_file.empty() != options.tls_key_file.empty())
        return Error{ErrorCode::kInvalid, "TLS needs both a certificate and a key file"};
    auto state = std::make_unique<State>(std::move(options));
    State* s = state.get();
    auto& hooks = *s->faults.state_;
    hooks.break_watches = [s] { s->store.break_watches(); };
    hooks.expire_history = [s] { s->store.expire_history(); };
    hooks.change_mode = [s](ServerMode mode) { return s->change_mode(mode); };
    EG_TRY_VOID(s->open());
    return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

std::string ApiServer::url() const {
    const auto& listen = state_->options.listen;
    std::string host = listen.substr(0, listen.rfind(':'));
    if (host.empty() || host == "0.0.0.0" || host == "[::]") host = "127.0.0.1";
    return (state_->options.tls_cert_file.empty() ? "http://" : "https://") + host + ":" +
           std::to_string(state_->port.load());
}

std::uint16_t ApiServer::port() const {
    return static_cast<std::uint16_t>(state_->port.load());
}

std::string ApiServer::kubeconfig() const {
    const auto& options = state_->options;
    std::string out =
        "apiVersion: v1\nkind: Config\nclusters:\n- name: edge-gpu\n  cluster:\n    server: " +
        url() + "\n";
    if (!options.ca_file.empty())
        out += "    certificate-authority: " + std::filesystem::absolute(options.ca_file).string() +
               "\n";
    out += "contexts:\n- name: edge-gpu\n  context:\n    cluster: edge-gpu\n    user: edge-gpu\n";
    out += "current-context: edge-gpu\nusers:\n- name: edge-gpu\n  user:";
    out +=
        options.bearer_token.empty() ? " {}\n" : "\n    token: \"" + options.bearer_token + "\"\n";
    return out;
}

Status ApiServer::write_kubeconfig(const std::filesystem::path& path) const {
    return write_file_atomically(path, kubeconfig(), 0600);
}

void ApiServer::stop() {
    std::unique_ptr<http::Server> stopped;
    {
        const std::lock_guard lock(state_->server_mutex);
        stopped = std::move(state_->server);
    }
    state_->store.break_watches();
    if (stopped) stopped->stop(Millis(200));
}

Faults& ApiServer::faults() {
    return state_->faults;
}

std::uint64_t ApiServer::resource_version() const {
    return state_->store.revision();
}

std::size_t ApiServer::count(std::string_view resource) const {
    const Resource* r = find_plural(resource);
    return r == nullptr ? 0 : state_->store.count(*r);
}

}  // namespace egpu::testing
