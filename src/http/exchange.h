// One request on a server's connection: reads its body, writes its response, decides whether the
// connection lives on. Internal and heavy (Beast): included by server.cpp only.
#pragma once

#include <cstdio>
#include <ctime>
#include <optional>

#include "http/server.h"
#include "http/wire.h"

namespace egpu::http {

using RequestParser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;

// A body the handler did not want is read up to this much to keep the connection.
inline constexpr std::uint64_t kDrainLimit = 256U << 10;
// For the last words to a peer, or its last bytes.
inline constexpr auto kGentle = Millis(1000);

inline std::string date_line() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[64];
    const auto n = std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    return {text, n};
}

inline void append_fields(std::string& head, std::string_view content_type, const Headers& extra) {
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
        const ServerOptions& options,
        StopToken stopping,
        DeadlineSocket& socket,
        InBuffer& buffer,
        RequestParser& parser,
        ServerRequest request
    )
        : options_(options),
          socket_(socket),
          request_(std::move(request)),
          body_(socket, buffer, parser),
          stopping_(std::move(stopping)),
          keep_alive_(parser.keep_alive()),
          expects_(
              request_.minor_version >= 1 &&
              equal_without_case(request_.headers.get("Expect"), "100-continue")
          ) {}

    const ServerRequest& request() const override { return request_; }

    Result<std::size_t> read_some(std::span<char> into) override {
        if (body_.done()) return std::size_t{0};
        if (!body_deadline_) body_deadline_ = MonoClock::now() + options_.body_timeout;
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
        if (received_ > options_.max_body) {
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

    Status respond_pieces(
        int status,
        std::string_view content_type,
        std::span<const std::string_view> body,
        const Headers& extra
    ) override {
        EG_CHECK(!responded_);
        const bool empty = status == 204 || status == 304 || status < 200;
        std::string head = status_line(status);
        append_fields(head, content_type, extra);
        std::size_t length = 0;
        for (const std::string_view piece : body) length += piece.size();
        if (!empty) head += "Content-Length: " + std::to_string(length) + "\r\n";
        append_connection(head);
        if (empty || request_.method == "HEAD") body = {};
        std::vector<std::string_view> all{head};
        all.insert(all.end(), body.begin(), body.end());
        return sent(socket_.write(all, write_deadline(), nullptr));
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
    TimePoint write_deadline() const { return MonoClock::now() + options_.write_timeout; }

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

    const ServerOptions& options_;
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

}  // namespace egpu::http
