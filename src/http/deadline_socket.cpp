#include "http/deadline_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "http/tls.h"

namespace egpu::http {

namespace {

Error socket_error(const char* what, int error_number) {
    return Error{ErrorCode::kUnavailable, std::string(what) + ": " + std::strerror(error_number)};
}

// Joined, small messages leave in one TLS record.
constexpr std::size_t kJoinLimit = 16U << 10;

}  // namespace

void SslDeleter::operator()(SSL* ssl) const {
    SSL_free(ssl);
}

DeadlineSocket::DeadlineSocket(Fd fd) : fd_(std::move(fd)) {
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // A dead link is noticed within half a minute also when nothing is sent (a watch only reads).
    const int idle = 15;
    const int interval = 5;
    const int count = 3;
    const unsigned unacknowledged_ms = 30'000;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    ::setsockopt(
        fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms
    );
}

DeadlineSocket::~DeadlineSocket() = default;

Status DeadlineSocket::wait(short events, TimePoint deadline, const StopToken* stop) {
    for (;;) {
        if (stop != nullptr && stop->stopped()) return Error{ErrorCode::kStopped, "stopping"};
        const auto left = std::chrono::ceil<Millis>(deadline - MonoClock::now()).count();
        if (left <= 0) return Error{ErrorCode::kDeadline, "timed out"};
        pollfd entries[2] = {
            {fd_.get(), events, 0}, {stop != nullptr ? stop->fd() : -1, POLLIN, 0}};
        const int timeout = static_cast<int>(std::min<Millis::rep>(left, INT_MAX));
        const int n = ::poll(entries, 2, timeout);
        if (n < 0 && errno != EINTR) return socket_error("poll", errno);
        if (n > 0 && entries[0].revents != 0) return ok_status();
    }
}

Status DeadlineSocket::wait_readable(TimePoint deadline, const StopToken* stop) {
    if (ssl_ && SSL_pending(ssl_.get()) > 0) return ok_status();
    return wait(POLLIN, deadline, stop);
}

// After an OpenSSL call that did not succeed: waits for what it needs, or says why it failed.
Status DeadlineSocket::tls_wait(
    int outcome, const char* what, TimePoint deadline, const StopToken* stop
) {
    const int system_error = errno;
    switch (SSL_get_error(ssl_.get(), outcome)) {
        case SSL_ERROR_WANT_READ:
            return wait(POLLIN, deadline, stop);
        case SSL_ERROR_WANT_WRITE:
            return wait(POLLOUT, deadline, stop);
        case SSL_ERROR_SYSCALL:
            ERR_clear_error();
            return socket_error(what, system_error != 0 ? system_error : ECONNRESET);
        default:
            return tls_error(ssl_.get(), what);
    }
}

Status DeadlineSocket::handshake(
    std::unique_ptr<SSL, SslDeleter> ssl, TimePoint deadline, const StopToken* stop
) {
    ssl_ = std::move(ssl);
    attach_socket(ssl_.get(), fd_.get());
    for (;;) {
        ERR_clear_error();
        errno = 0;
        const int outcome = SSL_do_handshake(ssl_.get());
        if (outcome == 1) return ok_status();
        EG_TRY_VOID(tls_wait(outcome, "TLS handshake", deadline, stop));
    }
}

Result<std::size_t> DeadlineSocket::read_some(
    std::span<char> into, TimePoint deadline, const StopToken* stop
) {
    for (;;) {
        if (ssl_) {
            ERR_clear_error();
            errno = 0;
            std::size_t got = 0;
            const int outcome = SSL_read_ex(ssl_.get(), into.data(), into.size(), &got);
            if (outcome == 1) return got;
            if (SSL_get_error(ssl_.get(), outcome) == SSL_ERROR_ZERO_RETURN) return std::size_t{0};
            EG_TRY_VOID(tls_wait(outcome, "TLS read", deadline, stop));
            continue;
        }
        const ssize_t n = ::recv(fd_.get(), into.data(), into.size(), 0);
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) return socket_error("read", errno);
        EG_TRY_VOID(wait(POLLIN, deadline, stop));
    }
}

Status DeadlineSocket::write_tls(
    std::string_view bytes, TimePoint deadline, const StopToken* stop
) {
    while (!bytes.empty()) {
        ERR_clear_error();
        errno = 0;
        std::size_t sent = 0;
        const int outcome = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent);
        if (outcome == 1) {
            bytes.remove_prefix(sent);
            continue;
        }
        EG_TRY_VOID(tls_wait(outcome, "TLS write", deadline, stop));
    }
    return ok_status();
}

Status DeadlineSocket::write_tls(
    std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
) {
    std::string joined;
    for (const std::string_view piece : pieces) {
        if (joined.size() + piece.size() <= kJoinLimit) {
            joined += piece;
            continue;
        }
        EG_TRY_VOID(write_tls(joined, deadline, stop));
        joined.clear();
        if (piece.size() <= kJoinLimit) {
            joined = piece;
        } else {
            EG_TRY_VOID(write_tls(piece, deadline, stop));
        }
    }
    return write_tls(joined, deadline, stop);
}

Status DeadlineSocket::write_plain(
    std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
) {
    std::size_t first = 0;  // piece that is not sent yet, or not to its end
    std::size_t sent = 0;   // bytes of it
    for (;;) {
        std::array<iovec, 64> parts;
        std::size_t count = 0;
        for (std::size_t i = first; i < pieces.size() && count < parts.size(); ++i) {
            const std::string_view part = pieces[i].substr(i == first ? sent : 0);
            if (!part.empty()) parts[count++] = {const_cast<char*>(part.data()), part.size()};
        }
        if (count == 0) return ok_status();
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = count;
        const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return socket_error("write", errno);
            EG_TRY_VOID(wait(POLLOUT, deadline, stop));
            continue;
        }
        sent += static_cast<std::size_t>(n);
        while (first < pieces.size() && sent >= pieces[first].size()) {
            sent -= pieces[first++].size();
        }
    }
}

Status DeadlineSocket::write(
    std::span<const std::string_view> pieces, TimePoint deadline, const StopToken* stop
) {
    return ssl_ ? write_tls(pieces, deadline, stop) : write_plain(pieces, deadline, stop);
}

bool DeadlineSocket::readable() {
    if (ssl_ && SSL_pending(ssl_.get()) > 0) return true;
    pollfd entry{fd_.get(), POLLIN, 0};
    return ::poll(&entry, 1, 0) > 0;
}

bool DeadlineSocket::peer_closed() {
    char byte = 0;
    const ssize_t n = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0) return true;
    if (n < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    if (!ssl_) return false;
    // Bytes wait: they may be the peer's close_notify.
    ERR_clear_error();
    std::size_t got = 0;
    const int outcome = SSL_peek_ex(ssl_.get(), &byte, 1, &got);
    if (outcome == 1) return false;
    const int why = SSL_get_error(ssl_.get(), outcome);
    return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
}

void DeadlineSocket::close_gently(Duration patience) {
    if (ssl_ && SSL_is_init_finished(ssl_.get())) {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());
        ERR_clear_error();
    }
    if (::shutdown(fd_.get(), SHUT_WR) != 0 || patience <= Duration::zero()) return;
    const TimePoint until = MonoClock::now() + patience;
    char scratch[4096];
    for (;;) {
        const ssize_t n = ::recv(fd_.get(), scratch, sizeof scratch, 0);
        if (n == 0) return;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return;
        if (n < 0 && !wait(POLLIN, until, nullptr)) return;
        if (MonoClock::now() >= until) return;
    }
}

std::string DeadlineSocket::peer_cn() const {
    return ssl_ ? verified_peer_cn(ssl_.get()) : std::string();
}

}  // namespace egpu::http
