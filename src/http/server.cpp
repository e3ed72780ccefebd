#include "http/server.h"

#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/files.h"
#include "base/log.h"
#include "http/connect.h"
#include "http/tls.h"
#include "http/wire.h"

namespace egpu::http {

namespace {

namespace beast_http = boost::beast::http;
using RequestParser = beast_http::request_parser<beast_http::buffer_body>;

// A body the handler did not want is read up to this much to keep the connection.
constexpr std::uint64_t kDrainLimit = 256U << 10;
constexpr auto kGentle = Millis(1000);
constexpr auto kTlsRecheck = Seconds(10);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackFactor = 8;
#else
constexpr std::size_t kStackFactor = 1;
#endif

// The TLS context, rebuilt when its files have changed.
class TlsFiles {
  public:
    explicit TlsFiles(ServerTls options) : options_(std::move(options)) {}

    Status load() {
        EG_TRY(PemBundle pem, read());
        EG_TRY(TlsContext context, make_server_context(pem, options_.require_client_cert));
        const std::lock_guard lock(mutex_);
        pem_ = std::move(pem);
        context_ = std::move(context);
        checked_ = MonoClock::now();
        return ok_status();
    }

    TlsContext current() {
        bool check = false;
        PemBundle known;
        {
            const std::lock_guard lock(mutex_);
            check = MonoClock::now() - checked_ > kTlsRecheck;
            if (!check) return context_;
            checked_ = MonoClock::now();
            known = pem_;
        }
        const auto pem = read();
        if (pem && !(*pem == known)) {
            if (const auto loaded = load(); !loaded) {
                log::warn(
                    "new TLS files are not usable, serving with the old ones",
                    {{"error", loaded.error().message}}
                );
            }
        }
        const std::lock_guard lock(mutex_);
        return context_;
    }

  private:
    Result<PemBundle> read() const {
        PemBundle pem;
        pem.source = options_.cert_file;
        EG_TRY(pem.cert, read_file(options_.cert_file));
        EG_TRY(pem.key, read_file(options_.key_file));
        if (!options_.client_ca_file.empty()) {
            EG_TRY(pem.ca, read_file(options_.client_ca_file));
        }
        return pem;
    }

    const ServerTls options_;
    std::mutex mutex_;
    PemBundle pem_;
    TlsContext context_;
    TimePoint checked_;
};

struct State {
    State(ServerOptions o, Handler h) : options(std::move(o)), handler(std::move(h)) {}

    const ServerOptions options;
    const Handler handler;
    std::unique_ptr<TlsFiles> tls;
    StopSource stop;
    Fd listener;

    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t next_id = 0;
    std::map<std::uint64_t, int> sockets;  // of the connections being served
};

std::string date_line() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[64];
    const auto n = std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    return {text, n};
}

void append_fields(std::string& head, std::string_view content_type, const Headers& extra) {
    head += date_line();
    if (!content_type.empty() && fit_for_header(content_type)) {
        head.append("Content-Type: ").append(content_type).append("\r\n");
    }
    for (const auto& [name, value] : extra) {
        if (!fit_for_header(name) || !fit_for_header(value)) continue;
        head.append(name).append(": ").append(value).append("\r\n");
    }
}

class ExchangeImpl final : public Exchange {
  public:
    ExchangeImpl(
        State& state,
        DeadlineSocket& socket,
        InBuffer& buffer,
        RequestParser& parser,
        ServerRequest request
    )
        : state_(state),
          socket_(socket),
          request_(std::move(request)),
          body_(socket, buffer, parser),
          stopping_(state.stop.token()),
          keep_alive_(parser.keep_alive()),
          expects_(
              request_.minor_version >= 1 &&
              equal_without_case(request_.headers.get("Expect"), "100-continue")
          ) {}

    const ServerRequest& request() const override { return request_; }

    Result<std::size_t> read_some(std::span<char> into) override {
        if (body_.done()) return std::size_t{0};
        if (!body_deadline_) body_deadline_ = MonoClock::now() + state_.options.body_timeout;
        if (expects_) {
            expects_ = false;
            EG_TRY_VOID(
                socket_.write("HTTP/1.1 100 Continue\r\n\r\n", "", write_deadline(), nullptr)
            );
        }
        auto n = body_.read_some(into, *body_deadline_, nullptr);
        if (!n) {
            broken_ = true;
            return n;
        }
        received_ += *n;
        if (received_ > state_.options.max_body) {
            broken_ = true;
            return Error{ErrorCode::kExhausted, "the body is larger than the server accepts"};
        }
        return n;
    }

    Result<std::string> read_all(std::size_t limit) override {
        std::string all;
        if (body_.left() > limit) return too_large(limit);
        all.resize(std::min<std::size_t>(limit, body_.left()));
        std::size_t used = 0;
        for (;;) {
            if (used == all.size()) all.resize(std::max<std::size_t>(used + used / 2, 4096));
            EG_TRY(
                const std::size_t n,
                read_some(std::span<char>(all.data() + used, all.size() - used))
            );
            used += n;
            if (used > limit) return too_large(limit);
            if (n == 0) break;
            if (body_.done()) break;
        }
        all.resize(used);
        return all;
    }

    Status respond(
        int status, std::string_view content_type, std::string_view body, const Headers& extra
    ) override {
        EG_CHECK(!responded_);
        const bool empty = status == 204 || status == 304 || status < 200;
        std::string head = status_line(status);
        append_fields(head, content_type, extra);
        if (!empty) head += "Content-Length: " + std::to_string(body.size()) + "\r\n";
        append_connection(head);
        if (empty || request_.method == "HEAD") body = {};
        return sent(socket_.write(head, body, write_deadline(), nullptr));
    }

    Status begin_stream(int status, std::string_view content_type, const Headers& extra) override {
        EG_CHECK(!responded_);
        std::string head = status_line(status);
        append_fields(head, content_type, extra);
        streaming_ = true;
        if (request_.minor_version >= 1) {
            head += "Transfer-Encoding: chunked\r\n";
        } else {
            keep_alive_ = false;
        }
        append_connection(head);
        return sent(socket_.write(head, {}, write_deadline(), nullptr));
    }

    Status write_stream(std::string_view bytes) override {
        EG_CHECK(streaming_);
        if (bytes.empty() || request_.method == "HEAD") return ok_status();
        if (request_.minor_version < 1) {
            return sent(socket_.write(bytes, {}, write_deadline(), nullptr));
        }
        char size[24];
        const int n = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
        const std::string_view head(size, static_cast<std::size_t>(n));
        if (bytes.size() <= 4096) {  // one packet, one system call
            std::string piece;
            piece.reserve(head.size() + bytes.size() + 2);
            piece.append(head).append(bytes).append("\r\n");
            return sent(socket_.write(piece, {}, write_deadline(), nullptr));
        }
        const TimePoint deadline = write_deadline();
        EG_TRY_VOID(sent(socket_.write(head, bytes, deadline, nullptr)));
        return sent(socket_.write("\r\n", {}, deadline, nullptr));
    }

    Status end_stream() override {
        EG_CHECK(streaming_);
        streaming_ = false;
        if (request_.minor_version < 1 || request_.method == "HEAD") return ok_status();
        return sent(socket_.write("0\r\n\r\n", {}, write_deadline(), nullptr));
    }

    void abandon() override { responded_ = broken_ = true; }

    bool responded() const override { return responded_; }
    bool peer_closed() override { return broken_ || socket_.peer_closed(); }
    const StopToken& stopping() const override { return stopping_; }

    // After the handler: true when the connection can take another request.
    bool finish() {
        if (streaming_) broken_ = true;  // cut: the peer must see that the end is missing
        if (!responded_) {
            static_cast<void>(respond(500, "text/plain", "no response was made\n", {}));
        }
        if (broken_ || !keep_alive_) return false;
        if (body_.done()) return true;
        // The body was not asked for: read it when it is small and on its way, else give up.
        if (expects_ || body_.left() > kDrainLimit) return false;
        char scratch[8192];
        const TimePoint deadline = MonoClock::now() + kGentle;
        for (std::uint64_t drained = 0; !body_.done() && drained <= kDrainLimit;) {
            const auto n = body_.read_some(scratch, deadline, nullptr);
            if (!n) return false;
            drained += *n;
        }
        return body_.done();
    }

    void refuse_keep_alive() { keep_alive_ = false; }
    bool body_done() const { return body_.done(); }

  private:
    static Error too_large(std::size_t limit) {
        return Error{
            ErrorCode::kExhausted, "the body is larger than " + std::to_string(limit) + " bytes"};
    }
    TimePoint write_deadline() const { return MonoClock::now() + state_.options.write_timeout; }

    std::string status_line(int status) {
        responded_ = true;
        std::string head;
        head.reserve(256);
        head.append("HTTP/1.1 ").append(std::to_string(status)).append(" ");
        head.append(reason_phrase(status)).append("\r\n");
        return head;
    }

    void append_connection(std::string& head) {
        if (stopping_.stopped() || broken_ || expects_) keep_alive_ = false;
        if (!keep_alive_) {
            head += "Connection: close\r\n";
        } else if (request_.minor_version < 1) {
            head += "Connection: keep-alive\r\n";
        }
        head += "\r\n";
    }

    Status sent(Status status) {
        if (!status) broken_ = true;
        return status;
    }

    State& state_;
    DeadlineSocket& socket_;
    ServerRequest request_;
    BodyReader<RequestParser> body_;
    StopToken stopping_;
    std::optional<TimePoint> body_deadline_;
    std::uint64_t received_ = 0;
    bool keep_alive_;
    bool expects_;  // the peer waits for 100 Continue
    bool responded_ = false;
    bool streaming_ = false;
    bool broken_ = false;
};

ServerRequest make_request(const RequestParser& parser) {
    const auto& message = parser.get();
    ServerRequest request;
    request.method.assign(message.method_string().data(), message.method_string().size());
    request.target.assign(message.target().data(), message.target().size());
    request.minor_version = message.version() == 10 ? 0 : 1;
    std::string_view target = request.target;
    if (target.substr(0, 7) == "http://" || target.substr(0, 8) == "https://") {  // as to a proxy
        const std::size_t slash = target.find('/', 8);
        target = slash == std::string_view::npos ? "/" : target.substr(slash);
    }
    const std::size_t mark = target.find('?');
    request.path = percent_decode(target.substr(0, mark));
    if (mark != std::string_view::npos) request.query = Query::parse(target.substr(mark + 1));
    request.headers = copy_headers(message);
    return request;
}

class Connection {
  public:
    Connection(std::shared_ptr<State> state, Fd fd, bool refused)
        : state_(std::move(state)), socket_(std::move(fd)), refused_(refused) {
        const std::lock_guard lock(state_->mutex);
        id_ = state_->next_id++;
        state_->sockets.emplace(id_, socket_.fd());
    }

    ~Connection() {
        // Before the descriptor is closed: stop() must never cut one that is somebody else's by
        // now.
        const std::lock_guard lock(state_->mutex);
        state_->sockets.erase(id_);
        state_->changed.notify_all();
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void run() {
        serve();
        socket_.close_gently(linger_ ? kGentle : Millis(0));
    }

  private:
    void serve() {
        const std::string peer = peer_name(socket_.fd());
        const ServerOptions& options = state_->options;
        if (state_->tls) {
            const TimePoint deadline = MonoClock::now() + options.header_timeout;
            const auto done =
                socket_.handshake(make_server_session(state_->tls->current()), deadline, nullptr);
            if (!done) {
                log::debug(
                    "TLS handshake failed",
                    {{"server", options.name}, {"peer", peer}, {"error", done.error().message}}
                );
                return;
            }
        }
        const std::string cn = socket_.peer_cn();
        const StopToken stopping = state_->stop.token();
        while (!stopping.stopped()) {
            if (buffer_.empty()) {
                const TimePoint idle = MonoClock::now() + options.idle_timeout;
                if (!socket_.wait_readable(idle, &stopping)) return;
            }
            if (!serve_one(peer, cn)) return;
        }
    }

    // One request; false when the connection is to be closed.
    bool serve_one(const std::string& peer, const std::string& cn) {
        const ServerOptions& options = state_->options;
        RequestParser parser;
        parser.body_limit(boost::none);
        parser.header_limit(static_cast<std::uint32_t>(options.max_header));
        const TimePoint deadline = MonoClock::now() + options.header_timeout;
        const auto header = read_header(socket_, buffer_, parser, deadline, nullptr);
        if (!header) {
            if (header.error().code == ErrorCode::kInvalid) reject(400, header.error().message);
            if (header.error().code == ErrorCode::kExhausted) reject(431, header.error().message);
            if (header.error().code == ErrorCode::kDeadline)
                reject(408, "the header came too slowly");
            return false;
        }
        if (*header == HeaderOutcome::kClosed) return false;
        if (refused_) {
            reject(503, "too many connections");
            return false;
        }
        if (parser.content_length().value_or(0) > options.max_body) {
            reject(413, "the body is larger than " + std::to_string(options.max_body) + " bytes");
            return false;
        }
        ServerRequest request = make_request(parser);
        request.peer = peer;
        request.client_cn = cn;
        ExchangeImpl exchange(*state_, socket_, buffer_, parser, std::move(request));
        try {
            state_->handler(exchange);
        } catch (const std::exception& e) {
            log::error(
                "an HTTP handler threw",
                {{"server", options.name},
                 {"target", exchange.request().target},
                 {"error", e.what()}}
            );
            exchange.refuse_keep_alive();
        }
        if (exchange.finish()) return true;
        linger_ = !exchange.body_done();
        return false;
    }

    void reject(int status, const std::string& why) {
        linger_ = true;  // closing with unread bytes would reset the connection and lose the answer
        const std::string body = why + "\n";
        std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
        head.append(reason_phrase(status)).append("\r\n");
        append_fields(head, "text/plain; charset=utf-8", {});
        head += "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
        static_cast<void>(socket_.write(head, body, MonoClock::now() + kGentle, nullptr));
    }

    std::shared_ptr<State> state_;
    DeadlineSocket socket_;
    InBuffer buffer_;
    std::uint64_t id_ = 0;
    bool refused_;
    bool linger_ = false;
};

void* connection_thread(void* argument) {
    const std::unique_ptr<Connection> connection(static_cast<Connection*>(argument));
    ::pthread_setname_np(::pthread_self(), "http-conn");
    connection->run();
    return nullptr;
}

void start_connection(const std::shared_ptr<State>& state, Fd fd) {
    // A few more than allowed get a thread that says 503 properly; beyond that they are dropped.
    constexpr std::size_t kRefusals = 16;
    std::size_t open = 0;
    {
        const std::lock_guard lock(state->mutex);
        open = state->sockets.size();
    }
    const std::size_t most = state->options.max_connections;
    if (open >= most + kRefusals) return;
    if (open >= most)
        log::warn("too many connections", {{"server", state->options.name}, {"limit", most}});
    auto connection = std::make_unique<Connection>(state, std::move(fd), open >= most);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    const std::size_t stack = std::max<std::size_t>(state->options.stack_bytes, 64U << 10);
    ::pthread_attr_setstacksize(&attributes, stack * kStackFactor);
    pthread_t thread{};
    Connection* raw = connection.release();
    const int error = ::pthread_create(&thread, &attributes, connection_thread, raw);
    ::pthread_attr_destroy(&attributes);
    if (error == 0) return;
    log::error("no thread for a connection", {{"server", state->options.name}, {"errno", error}});
    delete raw;
}

}  // namespace

struct Server::Impl {
    std::shared_ptr<State> state;
    pthread_t acceptor{};
    std::string address;
    int port = 0;
    std::mutex stop_mutex;
    bool stopped = false;

    static void* accept_loop(void* argument) {
        const std::shared_ptr<State> state = *static_cast<std::shared_ptr<State>*>(argument);
        delete static_cast<std::shared_ptr<State>*>(argument);
        ::pthread_setname_np(::pthread_self(), "http-accept");
        const StopToken stop = state->stop.token();
        while (!stop.stopped()) {
            pollfd entries[2] = {{state->listener.get(), POLLIN, 0}, {stop.fd(), POLLIN, 0}};
            if (::poll(entries, 2, -1) < 0 || entries[0].revents == 0) continue;
            Fd fd(::accept4(state->listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (fd.valid()) {
                start_connection(state, std::move(fd));
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                log::error(
                    "cannot accept connections", {{"server", state->options.name}, {"errno", errno}}
                );
                stop.wait_for(Millis(100));
            }
        }
        return nullptr;
    }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
    stop(Duration::zero());
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, Handler handler) {
    EG_CHECK(handler);
    auto impl = std::make_unique<Impl>();
    impl->state = std::make_shared<State>(std::move(options), std::move(handler));
    State& state = *impl->state;
    if (state.options.use_tls) {
        state.tls = std::make_unique<TlsFiles>(state.options.tls);
        if (auto loaded = state.tls->load(); !loaded) {
            return loaded.error().wrap("TLS of the " + state.options.name + " server");
        }
    }
    EG_TRY(state.listener, listen_tcp(state.options.listen));
    impl->port = local_port(state.listener.get());
    impl->address = local_name(state.listener.get());
    auto* argument = new std::shared_ptr<State>(impl->state);
    if (const int error = ::pthread_create(&impl->acceptor, nullptr, Impl::accept_loop, argument);
        error != 0) {
        delete argument;
        return errno_error("start the accepting thread", error);
    }
    return std::unique_ptr<Server>(new Server(std::move(impl)));
}

int Server::port() const {
    return impl_->port;
}

std::string Server::address() const {
    return impl_->address;
}

std::size_t Server::connections() const {
    const std::lock_guard lock(impl_->state->mutex);
    return impl_->state->sockets.size();
}

void Server::stop(Duration grace) {
    const std::lock_guard once(impl_->stop_mutex);
    if (impl_->stopped) return;
    impl_->stopped = true;
    State& state = *impl_->state;
    const TimePoint until = MonoClock::now() + grace;
    state.stop.request();
    ::pthread_join(impl_->acceptor, nullptr);
    state.listener.reset();

    std::unique_lock lock(state.mutex);
    const auto idle = [&] { return state.sockets.empty(); };
    if (state.changed.wait_until(lock, until, idle)) return;
    for (const auto& [id, fd] : state.sockets) ::shutdown(fd, SHUT_RDWR);
    while (!state.changed.wait_for(lock, Seconds(5), idle)) {
        log::warn(
            "a request handler does not return",
            {{"server", state.options.name}, {"connections", state.sockets.size()}}
        );
    }
}

}  // namespace egpu::http
