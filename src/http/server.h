// An HTTP/1.1 server: one thread and one handler call per connection and request, every wait with
// a deadline. Made for a handful of long-lived peers (kube-scheduler, kubectl, Prometheus), not
// for the open Internet. Bad HTTP gets 400 and the connection is closed; too many connections get
// 503. Idle connections live longer than the 90 s of Go's client, because Go never repeats a POST
// whose connection was closed by the server (golang/go#22158).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/stop.h"
#include "http/message.h"

namespace egpu::http {

// PEM files; certificate and key are re-read when they change.
struct ServerTls {
    std::string cert_file = {};
    std::string key_file = {};
    std::string client_ca_file = {};  // "": client certificates are not asked for
    bool require_client_cert = false;
};

struct ServerOptions {
    std::string listen =
        "127.0.0.1:0";          // "host:port"; port 0 takes a free one; ":port" is any address
    std::string name = "http";  // for logs and the thread names
    std::size_t max_connections = 64;
    Duration idle_timeout = Seconds(120);  // between requests of one connection
    Duration header_timeout =
        Seconds(10);  // from the first byte of a request to the end of its header
    Duration body_timeout = Seconds(30);   // for the whole body
    Duration write_timeout = Seconds(30);  // for each response, or each piece of a stream
    std::size_t max_header = 64U << 10;
    std::size_t max_body = 64U << 20;
    std::size_t stack_bytes = 512U << 10;  // of each connection's thread
    bool use_tls = false;
    ServerTls tls = {};
};

struct ServerRequest {
    std::string method = {};
    std::string target = {};  // as received
    std::string path = {};    // percent-decoded, without the query
    Query query = {};
    Headers headers = {};
    int minor_version = 1;       // HTTP/1.x
    std::string peer = {};       // "address:port"
    std::string client_cn = {};  // common name of the verified client certificate, or ""
};

// One request and the way to answer it. Only for the thread that runs the handler.
class Exchange {
  public:
    virtual ~Exchange() = default;

    virtual const ServerRequest& request() const = 0;

    // The next bytes of the body; 0 at its end. kExhausted over max_body, kDeadline when the peer
    // is slow, kUnavailable when it went away, kInvalid for bad chunks.
    virtual Result<std::size_t> read_some(std::span<char> into) = 0;
    // The (rest of the) whole body; kExhausted when longer than `limit` bytes.
    virtual Result<std::string> read_all(std::size_t limit) = 0;

    // Sends the whole response with Content-Length. Once per request. A body of HEAD requests and
    // of 204 and 304 is not sent. The error is the peer's absence: nothing is left to do about it.
    Status respond(
        int status, std::string_view content_type, std::string_view body, const Headers& extra = {}
    ) {
        return respond_pieces(status, content_type, std::span(&body, 1), extra);
    }
    // The same with a body that lies in pieces; they are sent from where they are.
    virtual Status respond_pieces(
        int status,
        std::string_view content_type,
        std::span<const std::string_view> body,
        const Headers& extra = {}
    ) = 0;

    // A response in pieces (chunked; HTTP/1.0 peers get it until the connection closes). Each
    // write is sent at once. A stream that is not ended is cut, which the peer sees as an error.
    virtual Status begin_stream(
        int status, std::string_view content_type, const Headers& extra = {}
    ) = 0;
    virtual Status write_stream(std::string_view bytes) = 0;
    virtual Status end_stream() = 0;

    // Closes the connection without another byte, so that the peer cannot know what happened.
    virtual void abandon() = 0;

    virtual bool responded() const = 0;
    // The peer closed its connection (its read side included: half-open peers count as gone).
    virtual bool peer_closed() = 0;
    // Stops when the server does: long streams end then. Its fd() can be polled.
    virtual const StopToken& stopping() const = 0;
};

// Runs on the connection's thread. When it returns without a response, the peer gets 500. It must
// not throw (a thrown exception is logged and answered with 500).
using Handler = std::function<void(Exchange&)>;

class Server {
  public:
    // Binds and serves before it returns. kInvalid for bad options or certificates, kUnavailable or
    // kPermission when the address cannot be bound.
    static Result<std::unique_ptr<Server>> start(ServerOptions options, Handler handler);
    ~Server();  // stop(0)
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    int port() const;
    std::string address() const;  // "host:port" it listens at
    std::size_t connections() const;

    // Accepts nothing new, lets requests in flight finish for `grace`, then cuts their connections,
    // and waits for their handlers to return. Idempotent, thread-safe.
    void stop(Duration grace);

  private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::http
