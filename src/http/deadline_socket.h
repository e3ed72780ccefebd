// A connected TCP socket, plain or TLS, whose every wait has a deadline and may be stopped. It
// works on a non-blocking descriptor with poll(2), because Asio's blocking calls ignore time-outs.
// For one thread at a time. Errors: kDeadline, kStopped, kUnavailable (peer gone), kPermission
// (TLS).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/stop.h"

using SSL = struct ssl_st;

namespace egpu::http {

struct SslDeleter {
    void operator()(SSL* ssl) const;
};

class DeadlineSocket {
  public:
    // `fd` is non-blocking. TCP_NODELAY is set here, always: without it answers over keep-alive
    // connections stall for 40 ms.
    explicit DeadlineSocket(Fd fd);
    ~DeadlineSocket();
    DeadlineSocket(const DeadlineSocket&) = delete;
    DeadlineSocket& operator=(const DeadlineSocket&) = delete;

    // Turns the connection into a TLS one. Takes `ssl`, made by tls.h, client or server.
    Status handshake(
        std::unique_ptr<SSL, SslDeleter> ssl, TimePoint deadline, const StopToken* stop
    );

    // At least one byte, or 0 when the peer has finished.
    Result<std::size_t> read_some(std::span<char> into, TimePoint deadline, const StopToken* stop);
    // All pieces, one after the other, in as few packets as possible.
    Status write(
        std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
    );
    Status write(
        std::string_view head, std::string_view body, TimePoint deadline, const StopToken* stop
    ) {
        const std::string_view both[] = {head, body};
        return write(both, deadline, stop);
    }
    Status wait_readable(TimePoint deadline, const StopToken* stop);

    // Something can be read now, an end of file included: an idle connection in that state is dead.
    bool readable();
    bool peer_closed();
    // Sends our end, reads what still comes for at most `patience`, so that the peer gets our last
    // bytes instead of a reset.
    void close_gently(Duration patience);

    int fd() const { return fd_.get(); }
    // Common name of the peer's verified certificate, or "".
    std::string peer_cn() const;

  private:
    Status wait(short events, TimePoint deadline, const StopToken* stop);
    Status tls_wait(int outcome, const char* what, TimePoint deadline, const StopToken* stop);
    Status write_plain(
        std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
    );
    Status write_tls(
        std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
    );
    Status write_tls(std::string_view bytes, TimePoint deadline, const StopToken* stop);

    Fd fd_;
    std::unique_ptr<SSL, SslDeleter> ssl_;
};

}  // namespace egpu::http
