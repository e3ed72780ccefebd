#include "http/server.h"

#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/log.h"
#include "http/connect.h"
#include "http/exchange.h"
#include "http/tls_files.h"

namespace egpu::http {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackFactor = 8;
#else
constexpr std::size_t kStackFactor = 1;
#endif

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

// Counts a connection as served until all that it and its thread own is gone: stop() must not
// return before.
struct Leave {
    Leave(std::shared_ptr<State> s, std::uint64_t i) : state(std::move(s)), id(i) {}
    Leave(const Leave&) = delete;
    Leave& operator=(const Leave&) = delete;

    const std::shared_ptr<State> state;
    const std::uint64_t id;

    ~Leave() {
        const std::lock_guard lock(state->mutex);
        state->sockets.erase(id);
        state->changed.notify_all();
    }
};

class Connection {
  public:
    Connection(std::shared_ptr<State> state, Fd fd, bool refused)
        : state_(std::move(state)), socket_(std::move(fd)), refused_(refused) {
        const std::lock_guard lock(state_->mutex);
        id_ = state_->next_id++;
        leave_ = std::make_unique<Leave>(state_, id_);
        state_->sockets.emplace(id_, socket_.fd());
    }

    ~Connection() {
        // Before the descriptor is closed: stop() must never cut one that is somebody else's by
        // now.
        const std::lock_guard lock(state_->mutex);
        state_->sockets[id_] = -1;
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // To be destroyed after the connection by who outlives it.
    std::unique_ptr<Leave> take_leave() { return std::move(leave_); }

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
        ExchangeImpl exchange(
            options, state_->stop.token(), socket_, buffer_, parser, std::move(request)
        );
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

    std::unique_ptr<Leave> leave_;  // first, so destroyed last
    std::shared_ptr<State> state_;
    DeadlineSocket socket_;
    InBuffer buffer_;
    std::uint64_t id_ = 0;
    bool refused_;
    bool linger_ = false;
};

void* connection_thread(void* argument) {
    std::unique_ptr<Connection> connection(static_cast<Connection*>(argument));
    const std::unique_ptr<Leave> leave = connection->take_leave();
    ::pthread_setname_np(::pthread_self(), "http-conn");
    connection->run();
    connection.reset();
    if (leave->state->tls) end_tls_thread();
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
