#include "http/client.h"

#include <mutex>
#include <optional>
#include <vector>

#include "base/files.h"
#include "http/connect.h"
#include "http/tls.h"
#include "http/wire.h"

namespace egpu::http {

namespace {

namespace beast_http = boost::beast::http;
using ResponseParser = beast_http::response_parser<beast_http::buffer_body>;

struct Connection {
    explicit Connection(Fd fd) : socket(std::move(fd)) {}

    DeadlineSocket socket;
    InBuffer buffer;
    TimePoint idle_since;
};
using ConnectionPtr = std::unique_ptr<Connection>;

bool safe_to_repeat(const Request& request) {
    return request.method == "GET" || request.method == "HEAD";
}

// A connection with the answer's header read.
struct Opened {
    ConnectionPtr connection;
    std::unique_ptr<ResponseParser> parser;
    BodyReader<ResponseParser> body;
    int status = 0;
    Headers headers;
    bool keep_alive = false;
};

// Why an attempt failed, and whether the request may have reached the server.
struct Failure {
    Error error;
    bool sent = false;      // at least a part of the request
    bool answered = false;  // at least a byte came back
};

}  // namespace

struct Client::Impl {
    ClientOptions options;
    Url url;

    std::mutex mutex;
    std::vector<ConnectionPtr> idle;  // the most recently used last
    PemBundle pem;                    // what `context` was made of
    TlsContext context;

    Result<TlsContext> tls_context() {
        const auto text = [](const std::string& inline_text,
                             const std::string& file) -> Result<std::string> {
            if (!inline_text.empty() || file.empty()) return inline_text;
            return read_file(file);
        };
        PemBundle now;
        now.source = options.tls.cert_file;
        EG_TRY(now.ca, text(options.tls.ca_pem, options.tls.ca_file));
        EG_TRY(now.cert, text(options.tls.cert_pem, options.tls.cert_file));
        EG_TRY(now.key, text(options.tls.key_pem, options.tls.key_file));
        const std::lock_guard lock(mutex);
        if (!context || !(now == pem)) {
            EG_TRY(context, make_client_context(now, options.tls.insecure));
            pem = std::move(now);
        }
        return context;
    }

    Result<ConnectionPtr> connect(TimePoint deadline, const StopToken* stop) {
        const TimePoint until = std::min(deadline, MonoClock::now() + options.connect_timeout);
        EG_TRY(Fd fd, connect_tcp(url.host, url.port, until, stop));
        auto connection = std::make_unique<Connection>(std::move(fd));
        if (!url.tls) return connection;
        EG_TRY(const TlsContext tls, tls_context());
        const std::string& name =
            options.tls.server_name.empty() ? url.host : options.tls.server_name;
        EG_TRY(TlsSession session, make_client_session(tls, name, options.tls.insecure));
        if (auto done = connection->socket.handshake(std::move(session), until, stop); !done) {
            Error error = done.error().wrap(url.authority());
            // Nothing of the request was sent.
            if (error.code == ErrorCode::kDeadline) error.code = ErrorCode::kUnavailable;
            return error;
        }
        return connection;
    }

    // A pooled connection that is still good, or nullptr.
    ConnectionPtr take_idle() {
        const TimePoint now = MonoClock::now();
        std::vector<ConnectionPtr> dead;  // closed after the lock is released
        const std::lock_guard lock(mutex);
        while (!idle.empty()) {
            ConnectionPtr last = std::move(idle.back());
            idle.pop_back();
            if (now - last->idle_since < options.max_idle_time && !last->socket.readable()) {
                return last;
            }
            dead.push_back(std::move(last));
        }
        return nullptr;
    }

    void give_back(ConnectionPtr connection) {
        connection->idle_since = MonoClock::now();
        ConnectionPtr oldest;
        const std::lock_guard lock(mutex);
        idle.push_back(std::move(connection));
        if (idle.size() > options.max_idle) {
            oldest = std::move(idle.front());
            idle.erase(idle.begin());
        }
    }

    Result<std::string> make_head(const Request& request) const {
        const auto fits = [](const std::string& text) {
            return fit_for_header(text) && text.find(' ') == std::string::npos;
        };
        if (!fits(request.target) || !fits(request.method) || request.method.empty() ||
            request.target.substr(0, 1) != "/") {
            return Error{
                ErrorCode::kInvalid,
                "not a request line: " + request.method + " " + request.target};
        }
        std::string head;
        head.reserve(512);
        head.append(request.method).append(" ").append(url.prefix).append(request.target);
        head.append(" HTTP/1.1\r\nHost: ").append(url.authority()).append("\r\n");
        if (!request.headers.has("User-Agent")) {
            head.append("User-Agent: ").append(options.user_agent).append("\r\n");
        }
        for (const auto& [name, value] : request.headers) {
            if (!fit_for_header(name) || !fit_for_header(value)) {
                return Error{ErrorCode::kInvalid, "header " + name + " has a line break"};
            }
            head.append(name).append(": ").append(value).append("\r\n");
        }
        const bool with_body = !request.body.empty() || request.method == "POST" ||
                               request.method == "PUT" || request.method == "PATCH";
        if (with_body) {
            if (!request.content_type.empty()) {
                if (!fit_for_header(request.content_type)) {
                    return Error{ErrorCode::kInvalid, "the content type has a line break"};
                }
                head.append("Content-Type: ").append(request.content_type).append("\r\n");
            }
            head.append("Content-Length: ").append(std::to_string(request.body.size()));
            head.append("\r\n");
        }
        head.append("\r\n");
        return head;
    }

    // Sends the request over `connection` and reads the header of the answer.
    std::variant<Opened, Failure> exchange(
        ConnectionPtr connection,
        const std::string& head,
        const Request& request,
        TimePoint deadline,
        const StopToken* stop
    ) {
        // The server may answer and close before it has read everything: look for the answer even
        // so.
        const auto written = connection->socket.write(head, request.body, deadline, stop);
        if (!written && written.error().code != ErrorCode::kUnavailable) {
            return Failure{written.error(), true, false};
        }
        for (;;) {
            auto parser = std::make_unique<ResponseParser>();
            parser->body_limit(boost::none);
            parser->header_limit(static_cast<std::uint32_t>(options.max_header));
            if (request.method == "HEAD") parser->skip(true);
            const auto header =
                read_header(connection->socket, connection->buffer, *parser, deadline, stop);
            const bool answered = parser->got_some() || !connection->buffer.empty();
            if (!header) return Failure{header.error(), true, answered};
            if (*header == HeaderOutcome::kClosed) {
                if (!written) return Failure{written.error(), true, false};
                return Failure{
                    Error{ErrorCode::kUnavailable, "the connection was closed before an answer"},
                    true,
                    false};
            }
            const int status = static_cast<int>(parser->get().result_int());
            if (status < 200) continue;  // 100 Continue and the like
            BodyReader<ResponseParser> body(connection->socket, connection->buffer, *parser);
            const bool keep_alive = parser->keep_alive() && !body.until_close() && written.ok();
            Headers headers = copy_headers(parser->get());
            return Opened{
                std::move(connection),
                std::move(parser),
                body,
                status,
                std::move(headers),
                keep_alive};
        }
    }

    Result<Opened> open(const Request& request, TimePoint deadline, const StopToken* stop) {
        const auto label = [&](const Error& error) {
            return error.wrap(
                request.method + " " + (url.tls ? "https://" : "http://") + url.authority() +
                url.prefix + request.target.substr(0, request.target.find('?'))
            );
        };
        EG_TRY(const std::string head, make_head(request));
        for (bool may_reuse = true;; may_reuse = false) {
            ConnectionPtr connection = may_reuse ? take_idle() : nullptr;
            const bool reused = connection != nullptr;
            if (!reused) {
                auto fresh = connect(deadline, stop);
                if (!fresh) return label(fresh.error());
                connection = std::move(*fresh);
            }
            auto outcome = exchange(std::move(connection), head, request, deadline, stop);
            if (auto* opened = std::get_if<Opened>(&outcome)) return std::move(*opened);
            auto& failure = std::get<Failure>(outcome);
            const bool lost = failure.error.code == ErrorCode::kUnavailable;
            if (reused && lost && !failure.answered && safe_to_repeat(request)) continue;
            if (lost && !safe_to_repeat(request)) {
                failure.error.code = ErrorCode::kDeadline;
                failure.error.message += "; whether it was executed is unknown";
            }
            return label(failure.error);
        }
    }
};

namespace {

class StreamImpl final : public ResponseStream {
  public:
    explicit StreamImpl(Opened opened) : opened_(std::move(opened)) {}

    int status() const override { return opened_.status; }
    const Headers& headers() const override { return opened_.headers; }
    Result<std::size_t> read_some(std::span<char> into, TimePoint deadline, const StopToken* stop)
        override {
        return opened_.body.read_some(into, deadline, stop);
    }

  private:
    Opened opened_;
};

}  // namespace

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::open(ClientOptions options) {
    auto impl = std::make_unique<Impl>();
    EG_TRY(impl->url, parse_url(options.base_url));
    impl->options = std::move(options);
    const ClientTls& tls = impl->options.tls;
    if (!fit_for_header(impl->options.user_agent)) {
        return Error{ErrorCode::kInvalid, "the User-Agent has a line break"};
    }
    const bool cert = !tls.cert_pem.empty() || !tls.cert_file.empty();
    const bool key = !tls.key_pem.empty() || !tls.key_file.empty();
    if (cert != key) {
        return Error{
            ErrorCode::kInvalid,
            cert ? "a client certificate without its key" : "a client key without its certificate"};
    }
    return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Result<Response> Client::call(const Request& request, TimePoint deadline, const StopToken* stop) {
    EG_TRY(Opened opened, impl_->open(request, deadline, stop));
    Response response;
    response.status = opened.status;
    const std::size_t limit = impl_->options.max_response;
    const auto too_large = [&] {
        return Error{
            ErrorCode::kExhausted,
            request.method + " " + request.target + ": the answer is larger than " +
                std::to_string(limit) + " bytes"};
    };
    if (opened.body.left() > limit) return too_large();
    std::string& body = response.body;
    body.resize(opened.body.left());
    std::size_t used = 0;
    while (!opened.body.done()) {
        if (used == body.size()) body.resize(std::max<std::size_t>(used * 2, 8192));
        const std::span<char> room(body.data() + used, body.size() - used);
        auto n = opened.body.read_some(room, deadline, stop);
        if (!n) {
            // The answer began, so the request was executed; what came of it is unknown.
            Error error = n.error();
            const bool lost = error.code == ErrorCode::kUnavailable;
            if (lost && !safe_to_repeat(request)) error.code = ErrorCode::kDeadline;
            return error.wrap(request.method + " " + request.target);
        }
        used += *n;
        if (used > limit) return too_large();
    }
    body.resize(used);
    response.headers = std::move(opened.headers);
    if (opened.keep_alive && opened.connection->buffer.empty()) {
        impl_->give_back(std::move(opened.connection));
    }
    return response;
}

Result<std::unique_ptr<ResponseStream>> Client::stream(
    const Request& request, TimePoint header_deadline, const StopToken* stop
) {
    EG_TRY(Opened opened, impl_->open(request, header_deadline, stop));
    return std::unique_ptr<ResponseStream>(std::make_unique<StreamImpl>(std::move(opened)));
}

void Client::drop_idle() {
    std::vector<ConnectionPtr> dropped;
    const std::lock_guard lock(impl_->mutex);
    dropped.swap(impl_->idle);
}

const Url& Client::url() const {
    return impl_->url;
}

}  // namespace egpu::http
