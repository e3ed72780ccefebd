// Reading HTTP/1.1 messages from a DeadlineSocket with Beast's parser: header, then body in pieces.
// Internal, and heavy: included by server.cpp (through exchange.h) and client.cpp only. Bodies with
// a Content-Length are read straight into the caller's buffer; chunked ones go through the parser.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>

#include "http/deadline_socket.h"
#include "http/message.h"

namespace egpu::http {

// Bytes received and not yet used.
class InBuffer {
  public:
    std::string_view data() const { return {bytes_.data() + begin_, end_ - begin_}; }
    bool empty() const { return begin_ == end_; }
    void consume(std::size_t n) {
        begin_ += n;
        if (begin_ == end_) begin_ = end_ = 0;
    }
    // Reads once more; false at the end of the stream.
    Result<bool> fill(DeadlineSocket& socket, TimePoint deadline, const StopToken* stop) {
        if (begin_ > 0) {
            std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        if (end_ == bytes_.size()) bytes_.resize(std::max<std::size_t>(8192, bytes_.size() * 2));
        const std::span<char> room(bytes_.data() + end_, bytes_.size() - end_);
        EG_TRY(const std::size_t n, socket.read_some(room, deadline, stop));
        end_ += n;
        return n > 0;
    }

  private:
    std::vector<char> bytes_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

enum class HeaderOutcome { kDone, kClosed };  // kClosed: not a single byte came

inline Error http_error(const boost::system::error_code& error) {
    if (error == boost::beast::http::error::header_limit ||
        error == boost::beast::http::error::buffer_overflow) {
        return Error{ErrorCode::kExhausted, "the HTTP header is too large"};
    }
    return Error{ErrorCode::kInvalid, "not valid HTTP: " + error.message()};
}

template <class Parser>
Result<HeaderOutcome> read_header(
    DeadlineSocket& socket,
    InBuffer& buffer,
    Parser& parser,
    TimePoint deadline,
    const StopToken* stop
) {
    boost::system::error_code error;
    for (;;) {
        if (!buffer.empty()) {
            const std::string_view bytes = buffer.data();
            buffer.consume(parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error));
            if (error && error != boost::beast::http::error::need_more) return http_error(error);
            if (parser.is_header_done()) return HeaderOutcome::kDone;
        }
        EG_TRY(const bool more, buffer.fill(socket, deadline, stop));
        if (more) continue;
        if (buffer.empty() && !parser.got_some()) return HeaderOutcome::kClosed;
        return Error{ErrorCode::kUnavailable, "the connection was closed within a header"};
    }
}

// The body of the message whose header `parser` has just read.
template <class Parser>
class BodyReader {
  public:
    BodyReader(DeadlineSocket& socket, InBuffer& buffer, Parser& parser)
        : socket_(socket), buffer_(buffer), parser_(parser) {
        if (parser.is_done()) {
            mode_ = Mode::kDone;
        } else if (parser.chunked()) {
            mode_ = Mode::kChunked;
        } else if (const auto length = parser.content_length()) {
            left_ = *length;
            mode_ = left_ > 0 ? Mode::kLength : Mode::kDone;
        } else {
            mode_ = parser.need_eof() ? Mode::kUntilClose : Mode::kDone;
        }
    }

    bool done() const { return mode_ == Mode::kDone; }
    // Bytes to come, when the peer said how many.
    std::uint64_t left() const { return left_; }
    bool until_close() const { return mode_ == Mode::kUntilClose; }

    // 0 only at the end.
    Result<std::size_t> read_some(std::span<char> into, TimePoint deadline, const StopToken* stop) {
        if (into.empty() || mode_ == Mode::kDone) return std::size_t{0};
        if (mode_ == Mode::kChunked) return read_chunked(into, deadline, stop);
        if (mode_ == Mode::kLength && left_ < into.size()) into = into.first(left_);
        std::size_t n = 0;
        if (!buffer_.empty()) {
            n = std::min(into.size(), buffer_.data().size());
            std::memcpy(into.data(), buffer_.data().data(), n);
            buffer_.consume(n);
        } else {
            EG_TRY(n, socket_.read_some(into, deadline, stop));
        }
        if (mode_ == Mode::kLength) {
            if (n == 0) return cut();
            left_ -= n;
            if (left_ == 0) mode_ = Mode::kDone;
        } else if (n == 0) {
            mode_ = Mode::kDone;
        }
        return n;
    }

  private:
    enum class Mode { kDone, kLength, kChunked, kUntilClose };

    static Error cut() {
        return Error{ErrorCode::kUnavailable, "the connection was closed within a body"};
    }

    Result<std::size_t> read_chunked(
        std::span<char> into, TimePoint deadline, const StopToken* stop
    ) {
        auto& body = parser_.get().body();
        body.data = into.data();
        body.size = into.size();
        body.more = true;
        boost::system::error_code error;
        while (body.size == into.size() && !parser_.is_done()) {
            if (!buffer_.empty()) {
                const std::string_view bytes = buffer_.data();
                buffer_.consume(parser_.put(boost::asio::buffer(bytes.data(), bytes.size()), error)
                );
                if (error == boost::beast::http::error::need_buffer) break;
                if (!error) continue;
                if (error != boost::beast::http::error::need_more) return http_error(error);
                if (body.size != into.size()) break;
            }
            EG_TRY(const bool more, buffer_.fill(socket_, deadline, stop));
            if (!more) return cut();
        }
        const std::size_t n = into.size() - body.size;
        if (parser_.is_done()) mode_ = Mode::kDone;
        return n;
    }

    DeadlineSocket& socket_;
    InBuffer& buffer_;
    Parser& parser_;
    Mode mode_ = Mode::kDone;
    std::uint64_t left_ = 0;
};

template <class Fields>
Headers copy_headers(const Fields& fields) {
    Headers out;
    for (const auto& field : fields) {
        out.add(
            std::string(field.name_string().data(), field.name_string().size()),
            std::string(field.value().data(), field.value().size())
        );
    }
    return out;
}

inline bool fit_for_header(std::string_view text) {
    return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace egpu::http
