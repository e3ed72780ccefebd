// An HTTP/1.1 client for one server: pooled keep-alive connections, TLS, deadlines for everything
// (name lookup included), and streamed responses for watches. Thread-safe.
//
// Errors: kUnavailable = nothing was executed (not connected, or refused before the request was
// sent); kDeadline = no (complete) answer, the outcome is unknown; kPermission = TLS refused one of
// the two sides; kExhausted = the answer is too large; kInvalid = not HTTP, or bad options;
// kStopped = the stop token. Any HTTP status, 500 too, is a Response.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/stop.h"
#include "http/message.h"

namespace egpu::http {

// Each item as PEM text or as a file; the text wins. Files are re-read for each new connection.
struct ClientTls {
    std::string ca_pem = {};
    std::string ca_file = {};  // neither: the system's trust store
    std::string cert_pem = {};
    std::string cert_file = {};
    std::string key_pem = {};
    std::string key_file = {};
    std::string server_name = {};  // for SNI and verification; "": the URL's host
    bool insecure = false;         // no verification at all
};

struct ClientOptions {
    std::string base_url = {};  // http://host:port[/prefix] or https://…
    ClientTls tls = {};
    std::string user_agent = "edge-gpu";
    Duration connect_timeout = Seconds(5);  // lookup, connect and TLS handshake together
    std::size_t max_idle = 4;               // connections kept for later
    Duration max_idle_time = Seconds(30);
    std::size_t max_response = 256U << 20;
    std::size_t max_header = 64U << 10;
};

struct Request {
    std::string method = "GET";
    std::string target = {};  // path and query, escaped: "/api/v1/pods?limit=500"
    Headers headers = {};
    std::string body = {};
    std::string content_type = {};  // sent when there is a body
};

struct Response {
    int status = 0;
    Headers headers = {};
    std::string body = {};
};

// A response whose body is read as it arrives. Closing (destruction) drops the connection. For one
// thread at a time.
class ResponseStream {
  public:
    virtual ~ResponseStream() = default;
    virtual int status() const = 0;
    virtual const Headers& headers() const = 0;
    // At least one byte, or 0 at the orderly end. kDeadline leaves the stream usable. A connection
    // cut in the middle is kUnavailable.
    virtual Result<std::size_t> read_some(
        std::span<char> into, TimePoint deadline, const StopToken* stop = nullptr
    ) = 0;
};

class Client {
  public:
    // Checks the URL and the options; connects only when called.
    static Result<std::unique_ptr<Client>> open(ClientOptions options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // One exchange. GET and HEAD are repeated once on a fresh connection when a pooled one turns
    // out to be closed before the first byte of the answer; nothing else is ever repeated.
    Result<Response> call(
        const Request& request, TimePoint deadline, const StopToken* stop = nullptr
    );

    // Returns when the response's header has arrived.
    Result<std::unique_ptr<ResponseStream>> stream(
        const Request& request, TimePoint header_deadline, const StopToken* stop = nullptr
    );

    // Forgets pooled connections, for example after credentials changed.
    void drop_idle();
    const Url& url() const;

  private:
    struct Impl;
    explicit Client(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::http
