// How one HTTP request goes through: authorisation, faults, offline mode, discovery, watches,
// verbs.
#include "testing/apiserver/api_server_state.h"
#include "testing/apiserver/control.h"
#include "testing/apiserver/discovery.h"
#include "testing/apiserver/fault_state.h"
#include "testing/apiserver/watch_stream.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kBodyLimit = 3U << 20;  // as the API server's

bool is_watch(const http::ServerRequest& request) {
    return request.method == "GET" && request.query.has("watch") && request.query.flag("watch");
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
    EG_TRY(server, http::Server::start(http_options, [this](http::Exchange& exchange) {
               handle(exchange);
           }));
    port = server->port();
    return ok_status();
}

Status ApiServer::State::change_mode(ServerMode mode) {
    std::unique_ptr<http::Server> stopped;
    {
        const std::lock_guard lock(server_mutex);
        if (faults.mode() == mode) return ok_status();
        if (mode == ServerMode::kRefused) {
            stopped = std::move(server);
        } else if (server == nullptr) {
            EG_TRY_VOID(open());
        }
        faults.state_->mode = mode;
    }
    if (mode != ServerMode::kOnline) store.break_watches();
    if (stopped) stopped->stop(Millis(0));  // waits for handlers, so without the lock
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
                rule.message.empty() ? "injected fault: " + std::to_string(rule.status)
                                     : rule.message
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
        case FaultAction::kDelay:
            exchange.stopping().wait_for(rule.delay);
            return false;
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
        return serve_control(
            rest_request,
            faults,
            [this](auto ns, auto pod, auto c, std::string text) {
                set_log(ns, pod, c, std::move(text));
            }
        );
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

}  // namespace egpu::testing
