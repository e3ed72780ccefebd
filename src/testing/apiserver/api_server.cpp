#include "testing/apiserver/api_server.h"

#include <atomic>
#include <map>
#include <mutex>

#include "base/files.h"
#include "base/log.h"
#include "http/server.h"
#include "testing/apiserver/api.h"
#include "testing/apiserver/control.h"
#include "testing/apiserver/discovery.h"
#include "testing/apiserver/fault_state.h"
#include "testing/apiserver/lite_cache.h"
#include "testing/apiserver/metadata_rules.h"
#include "testing/apiserver/rest.h"
#include "testing/apiserver/watch_stream.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kBodyLimit = 3U << 20;  // as the API server's

bool is_watch(const http::ServerRequest& request) {
    return request.method == "GET" && request.query.has("watch") && request.query.flag("watch");
}

std::string name_space_of(const Resource& resource, std::string_view given) {
    if (!resource.namespaced) return "";
    return given.empty() ? "default" : std::string(given);
}

Error unknown_resource(std::string_view resource) {
    return Error{
        ErrorCode::kInvalid, "the embedded API server knows no resource \"" + std::string(resource) + "\""
    };
}

class OpenWatch {
  public:
    explicit OpenWatch(std::atomic<std::size_t>& count) : count_(count) { ++count_; }
    ~OpenWatch() { --count_; }
    OpenWatch(const OpenWatch&) = delete;
    OpenWatch& operator=(const OpenWatch&) = delete;

  private:
    std::atomic<std::size_t>& count_;
};

}  // namespace

struct ApiServer::State {
    explicit State(ApiServerOptions o)
        : options(std::move(o)),
          store(all_resources().size(), options.history),
          api(store, options.check_binding_uid),
          rest(api, store, [this](auto ns, auto pod, auto container) {
              return find_log(ns, pod, container);
          }) {}

    Status open();
    Status change_mode(ServerMode mode);
    void handle(http::Exchange& exchange);
    bool authorised(const http::ServerRequest& request) const;
    // Called with the status of an answer just before it is sent, so that whoever has the answer finds
    // the request recorded.
    using Record = std::function<void(int)>;
    // True when the fault made the answer (or its absence).
    bool apply_fault(http::Exchange& exchange, const FaultRule& rule, const Record& record);
    void handle_offline(http::Exchange& exchange, const Record& record);
    RestAnswer answer(http::Exchange& exchange);
    void watch(http::Exchange& exchange, const Target& target);

    std::optional<std::string> find_log(
        std::string_view ns, std::string_view pod, std::string_view container
    );
    void set_log(
        std::string_view ns, std::string_view pod, std::string_view container, std::string text
    );

    const ApiServerOptions options;
    ObjectStore store;
    Api api;
    Rest rest;
    Faults faults;
    LiteCache lite;

    std::mutex logs_mutex;
    std::map<std::string, std::string> logs;  // "namespace/pod/container"

    std::mutex server_mutex;
    std::unique_ptr<http::Server> server;  // nullptr while connections are refused
    std::atomic<int> port{0};
};

// --- HTTP ---------------------------------------------------------------------------------------

Status ApiServer::State::open() {
    http::ServerOptions http_options;
    http_options.name = "apiserver";
    http_options.listen = options.listen;
    if (port != 0) {  // again, at the port that clients know
        const std::size_t colon = options.listen.rfind(':');
        http_options.listen = options.listen.substr(0, colon + 1) + std::to_string(port);
    }
    http_options.max_connections = 4096;
    http_options.use_tls = !options.tls_cert_file.empty();
    http_options.tls.cert_file = options.tls_cert_file;
    http_options.tls.key_file = options.tls_key_file;
    EG_TRY(
        server,
        http::Server::start(http_options, [this](http::Exchange& exchange) { handle(exchange); })
    );
    port = server->port();
    return ok_status();
}

Status ApiServer::State::change_mode(ServerMode mode) {
    const std::lock_guard lock(server_mutex);
    if (faults.mode() == mode) return ok_status();
    if (mode == ServerMode::kRefused) {
        faults.state_->mode = mode;
        store.break_watches();
        if (server) server->stop(Millis(0));
        server.reset();
        return ok_status();
    }
    if (server == nullptr) EG_TRY_VOID(open());
    faults.state_->mode = mode;
    if (mode == ServerMode::kLiteOffline) store.break_watches();
    return ok_status();
}

bool ApiServer::State::authorised(const http::ServerRequest& request) const {
    if (options.bearer_token.empty()) return true;
    return request.headers.get("Authorization") == "Bearer " + options.bearer_token;
}

void ApiServer::State::handle(http::Exchange& exchange) {
    const auto& request = exchange.request();
    const std::string method = is_watch(request) ? "WATCH" : request.method;
    const Record record = [&](int code) {
        const std::size_t mark = request.target.find('?');
        faults.state_->record(
            {method,
             request.path,
             mark == std::string::npos ? "" : request.target.substr(mark + 1),
             std::string(request.headers.get("User-Agent")),
             code}
        );
    };
    const auto send = [&](const RestAnswer& a) {
        http::Headers extra;
        if (a.retry_after_s) extra.add("Retry-After", std::to_string(*a.retry_after_s));
        static_cast<void>(exchange.respond(a.status, a.content_type, a.body, extra));
    };
    const auto record_and_send = [&](const RestAnswer& a) {
        record(a.status);
        send(a);
    };
    if (!authorised(request)) return record_and_send(RestAnswer::failure(status::unauthorized()));
    if (request.path.starts_with("/testing/")) return send(answer(exchange));
    if (const Duration latency = faults.state_->current_latency(); latency > Duration{})
        exchange.stopping().wait_for(latency);
    const auto rule = faults.state_->take(method, request.path);
    if (rule && apply_fault(exchange, *rule, record)) return;
    if (faults.mode() == ServerMode::kLiteOffline) return handle_offline(exchange, record);
    const auto target = parse_target(request.path);
    if (method == "WATCH" && target && target->subresource.empty()) {
        record(200);
        return watch(exchange, *target);
    }
    record_and_send(answer(exchange));
}

bool ApiServer::State::apply_fault(
    http::Exchange& exchange, const FaultRule& rule, const Record& record
) {
    switch (rule.action) {
        case FaultAction::kStatus: {
            ApiStatus failure = status::of_code(
                rule.status,
                rule.message.empty() ? "injected fault: " + std::to_string(rule.status) : rule.message
            );
            failure.retry_after_s = rule.retry_after_s;
            http::Headers extra;
            if (rule.retry_after_s) extra.add("Retry-After", std::to_string(*rule.retry_after_s));
            record(rule.status);
            static_cast<void>(
                exchange.respond(rule.status, "application/json", failure.to_json(), extra)
            );
            return true;
        }
        case FaultAction::kDropBefore:
            record(0);
            exchange.abandon();
            return true;
        case FaultAction::kDropAfterCommit:
        case FaultAction::kStallAfterCommit:
            record(0);
            static_cast<void>(answer(exchange));
            if (rule.action == FaultAction::kStallAfterCommit)
                exchange.stopping().wait_for(rule.delay);
            exchange.abandon();
            return true;
        case FaultAction::kDelay: exchange.stopping().wait_for(rule.delay); return false;
    }
    return false;
}

void ApiServer::State::handle_offline(http::Exchange& exchange, const Record& record) {
    const auto& request = exchange.request();
    const auto target = parse_target(request.path);
    const auto send = [&](int code, std::string_view type, std::string_view body) {
        record(code);
        static_cast<void>(exchange.respond(code, type, body));
    };
    constexpr std::string_view kText = "text/plain; charset=utf-8";
    if (request.method != "GET" || !target)
        return send(503, kText, "connect: network is unreachable\n");
    if (is_watch(request)) return send(200, "application/json", "");
    const auto cached = lite.answer(request.headers.get("User-Agent"), *target);
    if (!cached) return send(404, kText, "get cache error: not found in the local cache\n");
    send(200, cached->content_type, cached->body);
}

RestAnswer ApiServer::State::answer(http::Exchange& exchange) {
    const auto& request = exchange.request();
    RestRequest rest_request;
    rest_request.method = request.method;
    rest_request.path = request.path;
    rest_request.query = &request.query;
    rest_request.accept = request.headers.get("Accept");
    rest_request.content_type = request.headers.get("Content-Type");
    auto body = exchange.read_all(kBodyLimit);
    if (!body) {
        const bool large = body.error().code == ErrorCode::kExhausted;
        return RestAnswer::failure(status::of_code(large ? 413 : 400, body.error().message));
    }
    rest_request.body = std::move(body).value();
    if (request.path.starts_with("/testing/")) {
        return serve_control(rest_request, faults, [this](auto ns, auto pod, auto c, std::string text) {
            set_log(ns, pod, c, std::move(text));
        });
    }
    if (request.method == "GET") {
        const auto found = answer_discovery(
            request.path,
            rest_request.accept,
            options.version,
            "127.0.0.1:" + std::to_string(port.load())
        );
        if (found) {
            RestAnswer a;
            a.content_type = found->content_type;
            a.body = found->body;
            return a;
        }
    }
    const auto target = parse_target(request.path);
    if (!target) return RestAnswer::failure(status::no_such_path());
    ReadResult read;
    RestAnswer a = rest.serve(*target, rest_request, &read);
    if (a.status == 200) lite.remember(request.headers.get("User-Agent"), *target, read);
    return a;
}

void ApiServer::State::watch(http::Exchange& exchange, const Target& target) {
    const OpenWatch open(faults.state_->open_watches);
    WatchSettings settings;
    settings.bookmark_interval = options.bookmark_interval;
    settings.on_event = [&, agent = std::string(exchange.request().headers.get("User-Agent"))](
                            EventType type, const ObjectPtr& object
                        ) { lite.apply(agent, target, type, object); };
    serve_watch(exchange, target, rest, store, settings);
}

std::optional<std::string> ApiServer::State::find_log(
    std::string_view ns, std::string_view pod, std::string_view container
) {
    const std::string prefix = object_key(ns, pod) + "/";
    const std::lock_guard lock(logs_mutex);
    auto found = logs.find(prefix + std::string(container));
    if (found == logs.end()) found = logs.find(prefix);
    if (found == logs.end()) return std::nullopt;
    return found->second;
}

void ApiServer::State::set_log(
    std::string_view ns, std::string_view pod, std::string_view container, std::string text
) {
    const std::lock_guard lock(logs_mutex);
    logs[object_key(ns, pod) + "/" + std::string(container)] = std::move(text);
}

// --- the object ---------------------------------------------------------------------------------

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
        "apiVersion: v1\nkind: Config\nclusters:\n- name: edge-gpu\n  cluster:\n    server: " + url() +
        "\n";
    if (!options.ca_file.empty())
        out += "    certificate-authority: " + std::filesystem::absolute(options.ca_file).string() + "\n";
    out += "contexts:\n- name: edge-gpu\n  context:\n    cluster: edge-gpu\n    user: edge-gpu\n";
    out += "current-context: edge-gpu\nusers:\n- name: edge-gpu\n  user:";
    out += options.bearer_token.empty() ? " {}\n" : "\n    token: \"" + options.bearer_token + "\"\n";
    return out;
}

Status ApiServer::write_kubeconfig(const std::filesystem::path& path) const {
    return write_file_atomically(path, kubeconfig(), 0600);
}

void ApiServer::stop() {
    state_->store.break_watches();
    const std::lock_guard lock(state_->server_mutex);
    if (state_->server) state_->server->stop(Millis(200));
    state_->server.reset();
}

Faults& ApiServer::faults() {
    return state_->faults;
}

void ApiServer::set_log(const ObjectRef& pod, std::string_view container, std::string text) {
    state_->set_log(name_space_of(pods(), pod.name_space), pod.name, container, std::move(text));
}

std::uint64_t ApiServer::resource_version() const {
    return state_->store.revision();
}

std::size_t ApiServer::count(std::string_view resource) const {
    const Resource* r = find_plural(resource);
    return r == nullptr ? 0 : state_->store.count(*r);
}

// --- C++ calls ----------------------------------------------------------------------------------

Result<json::value> ApiServer::create(const json::value& object) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    const std::string ns = name_space_of(*r, json::get_string(object, {"metadata", "namespace"}));
    if (r->namespaced) state_->api.ensure_namespace(ns);
    auto made = state_->api.create(*r, ns, object);
    if (!made) return made.failure().to_error();
    return (*made)->full_doc();
}

Result<json::value> ApiServer::create(std::string_view json_text) {
    EG_TRY(const auto object, json::parse(json_text));
    return create(object);
}

Result<json::value> ApiServer::get(const ObjectRef& ref) const {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    auto found = state_->api.get(*r, name_space_of(*r, ref.name_space), ref.name);
    if (!found) return found.failure().to_error();
    return (*found)->full_doc();
}

std::vector<json::value> ApiServer::list(std::string_view resource, const ListQuery& query) const {
    std::vector<json::value> out;
    Target target;
    target.resource = find_plural(resource);
    EG_CHECK(target.resource != nullptr);
    target.name_space = query.name_space;
    const auto parameters = http::Query::parse(
        "fieldSelector=" + http::percent_encode(query.field_selector) +
        "&labelSelector=" + http::percent_encode(query.label_selector)
    );
    auto selection = state_->rest.parse_selection(target, parameters);
    EG_CHECK(static_cast<bool>(selection));
    auto found = state_->rest.list(*target.resource, *selection, 0, "");
    if (!found) return out;
    for (const auto& object : found->items) out.push_back(object->full_doc());
    return out;
}

Result<json::value> ApiServer::update(const json::value& object, std::string_view subresource) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    auto updated = state_->api.update(
        *r,
        name_space_of(*r, json::get_string(object, {"metadata", "namespace"})),
        json::get_string(object, {"metadata", "name"}),
        object,
        subresource
    );
    if (!updated) return updated.failure().to_error();
    return (*updated)->full_doc();
}

Result<json::value> ApiServer::patch(
    const ObjectRef& ref, const json::value& merge_patch, std::string_view subresource
) {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    auto patched = state_->api.patch(
        *r,
        name_space_of(*r, ref.name_space),
        ref.name,
        PatchFormat::kMerge,
        merge_patch,
        subresource
    );
    if (!patched) return patched.failure().to_error();
    return (*patched)->full_doc();
}

Status ApiServer::remove(const ObjectRef& ref, std::optional<int> grace_seconds) {
    const Resource* r = find_plural(ref.resource);
    if (r == nullptr) return unknown_resource(ref.resource);
    DeleteOptions options;
    if (grace_seconds) options.grace_seconds = *grace_seconds;
    auto removed = state_->api.remove(*r, name_space_of(*r, ref.name_space), ref.name, options);
    if (!removed) return removed.failure().to_error();
    return ok_status();
}

Status ApiServer::bind(
    const ObjectRef& pod,
    std::string_view node,
    const std::map<std::string, std::string>& annotations
) {
    json::object notes;
    for (const auto& [key, text] : annotations) notes[key] = text;
    json::value binding = {
        {"metadata", {{"name", pod.name}, {"annotations", std::move(notes)}}},
        {"target", {{"kind", "Node"}, {"name", node}}}
    };
    auto failed = state_->api.bind(name_space_of(pods(), pod.name_space), pod.name, std::move(binding));
    if (failed) return failed->to_error();
    return ok_status();
}

Result<json::value> ApiServer::load(json::value object) {
    const auto api_version = json::get_string(object, {"apiVersion"});
    const auto kind = json::get_string(object, {"kind"});
    const Resource* r = find_kind(api_version, kind);
    if (r == nullptr) return unknown_resource(std::string(api_version) + " " + std::string(kind));
    auto& metadata = metadata_of(object);
    if (json::get_string(object, {"metadata", "name"}).empty())
        return Error{ErrorCode::kInvalid, "load: metadata.name is missing"};
    if (r->namespaced) {
        const auto ns = name_space_of(*r, json::get_string(object, {"metadata", "namespace"}));
        state_->api.ensure_namespace(ns);
        set_string(metadata, "namespace", ns);
    }
    if (!metadata.contains("uid")) set_string(metadata, "uid", new_uid());
    if (!metadata.contains("creationTimestamp"))
        set_string(metadata, "creationTimestamp", timestamp_now());
    auto written = state_->store.replace(*r, std::move(object), nullptr);
    return written.object->full_doc();
}

bool ApiServer::wait_until(const std::function<bool()>& predicate, Duration timeout) const {
    const TimePoint deadline = MonoClock::now() + timeout;
    for (;;) {
        const std::uint64_t seen = state_->store.revision();
        if (predicate()) return true;
        if (!state_->store.wait_beyond(seen, deadline)) return predicate();
    }
}

bool ApiServer::wait_for(
    const ObjectRef& ref,
    const std::function<bool(const json::value*)>& predicate,
    Duration timeout
) const {
    return wait_until(
        [&] {
            const auto found = get(ref);
            return predicate(found ? &*found : nullptr);
        },
        timeout
    );
}

}  // namespace egpu::testing
