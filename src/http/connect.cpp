#include "http/connect.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace egpu::http {

namespace {

struct Address {
    sockaddr_storage bytes{};
    socklen_t size = 0;
};
using Addresses = std::vector<Address>;

// getaddrinfo() knows no deadline, so names are looked up on a thread that may outlive the wait.
struct Lookup {
    std::string host;
    std::string port;
    Fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::mutex mutex;
    Addresses addresses;
    std::string error;
};
constexpr int kMaxLookups = 16;
std::atomic<int> lookups_running{0};

int resolve(const std::string& host, const std::string& port, int flags, Addresses& into) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int code =
        ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
    for (const addrinfo* at = found; code == 0 && at != nullptr; at = at->ai_next) {
        Address address;
        if (at->ai_addrlen > sizeof address.bytes) continue;
        std::memcpy(&address.bytes, at->ai_addr, at->ai_addrlen);
        address.size = at->ai_addrlen;
        into.push_back(address);
    }
    if (found != nullptr) ::freeaddrinfo(found);
    return code;
}

Error unavailable(std::string_view what, std::string_view why) {
    return Error{ErrorCode::kUnavailable, std::string(what) + ": " + std::string(why)};
}

// True when `fd` is ready, false after the deadline.
Result<bool> wait_for(int fd, short events, TimePoint deadline, const StopToken* stop) {
    for (;;) {
        if (stop != nullptr && stop->stopped()) return Error{ErrorCode::kStopped, "stopping"};
        const auto left = std::chrono::ceil<Millis>(deadline - MonoClock::now()).count();
        if (left <= 0) return false;
        pollfd entries[2] = {{fd, events, 0}, {stop != nullptr ? stop->fd() : -1, POLLIN, 0}};
        const int n = ::poll(entries, 2, static_cast<int>(std::min<Millis::rep>(left, INT_MAX)));
        if (n < 0 && errno != EINTR) return unavailable("poll", std::strerror(errno));
        if (n > 0 && entries[0].revents != 0) return true;
    }
}

Result<Addresses> look_up(
    const std::string& host, const std::string& port, TimePoint deadline, const StopToken* stop
) {
    Addresses addresses;
    if (resolve(host, port, AI_NUMERICHOST, addresses) == 0) return addresses;
    if (lookups_running.fetch_add(1) >= kMaxLookups) {
        lookups_running.fetch_sub(1);
        return unavailable("look up " + host, "too many lookups are still waiting for an answer");
    }
    auto lookup = std::make_shared<Lookup>();
    lookup->host = host;
    lookup->port = port;
    std::thread([lookup] {
        Addresses found;
        const int code = resolve(lookup->host, lookup->port, AI_ADDRCONFIG, found);
        {
            const std::lock_guard lock(lookup->mutex);
            lookup->addresses = std::move(found);
            if (code != 0) lookup->error = ::gai_strerror(code);
        }
        lookups_running.fetch_sub(1);
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto n = ::write(lookup->done.get(), &one, sizeof one);
    }).detach();
    EG_TRY(const bool ready, wait_for(lookup->done.get(), POLLIN, deadline, stop));
    if (!ready) return unavailable("look up " + host, "no answer in time");
    const std::lock_guard lock(lookup->mutex);
    if (!lookup->error.empty()) return unavailable("look up " + host, lookup->error);
    return lookup->addresses;
}

Result<Fd> connect_one(const Address& address, TimePoint deadline, const StopToken* stop) {
    Fd fd(::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return unavailable("socket", std::strerror(errno));
    const auto* to = reinterpret_cast<const sockaddr*>(&address.bytes);
    if (::connect(fd.get(), to, address.size) == 0) return fd;
    if (errno != EINPROGRESS) return unavailable("connect", std::strerror(errno));
    EG_TRY(const bool ready, wait_for(fd.get(), POLLOUT, deadline, stop));
    if (!ready) return unavailable("connect", "timed out");
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return unavailable("connect", std::strerror(error));
    return fd;
}

std::string name_of(const sockaddr_storage& address, socklen_t size) {
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (::getnameinfo(
            reinterpret_cast<const sockaddr*>(&address),
            size,
            host,
            sizeof host,
            port,
            sizeof port,
            NI_NUMERICHOST | NI_NUMERICSERV
        ) != 0) {
        return {};
    }
    return std::strchr(host, ':') != nullptr ? "[" + std::string(host) + "]:" + port
                                             : std::string(host) + ":" + port;
}

}  // namespace

Result<Fd> connect_tcp(
    const std::string& host, int port, TimePoint deadline, const StopToken* stop
) {
    EG_TRY(const Addresses addresses, look_up(host, std::to_string(port), deadline, stop));
    Error last = unavailable("connect", "no address");
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        // Each address gets its part of what is left, so that one black hole does not hide the
        // others.
        const Duration left = deadline - MonoClock::now();
        const TimePoint until =
            MonoClock::now() + left / static_cast<Duration::rep>(addresses.size() - i);
        auto fd = connect_one(addresses[i], until, stop);
        if (fd || fd.error().code == ErrorCode::kStopped) return fd;
        last = fd.error();
    }
    return last.wrap(host + ":" + std::to_string(port));
}

Result<Fd> listen_tcp(std::string_view address) {
    const std::size_t colon = address.rfind(':');
    const auto bad = [&](std::string_view why) {
        return Error{
            ErrorCode::kInvalid,
            "listen address \"" + std::string(address) + "\": " + std::string(why)};
    };
    if (colon == std::string_view::npos) return bad("must be host:port");
    std::string host(address.substr(0, colon));
    const std::string port(address.substr(colon + 1));
    int number = -1;
    const auto [end, parse_error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (parse_error != std::errc() || end != port.data() + port.size() || number < 0 ||
        number > 65535) {
        return bad("the port must be 0 to 65535");
    }
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    if (host == "*") host.clear();

    Addresses addresses;
    if (const int code = resolve(host, port, AI_PASSIVE, addresses); code != 0) {
        return bad(::gai_strerror(code));
    }
    // Any address: prefer the IPv6 socket, which takes IPv4 connections as well.
    if (host.empty()) {
        std::stable_partition(addresses.begin(), addresses.end(), [](const Address& a) {
            return a.bytes.ss_family == AF_INET6;
        });
    }
    Error last = bad("no address");
    for (const Address& at : addresses) {
        Fd fd(::socket(at.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const int on = 1;
        const int off = 0;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (at.bytes.ss_family == AF_INET6) {
            ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        }
        if (fd.valid() &&
            ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at.bytes), at.size) == 0 &&
            ::listen(fd.get(), 256) == 0) {
            return fd;
        }
        const bool refused = errno == EACCES || errno == EPERM;
        last = Error{
            refused ? ErrorCode::kPermission : ErrorCode::kUnavailable,
            "listen at " + std::string(address) + ": " + std::strerror(errno)};
    }
    return last;
}

std::string local_name(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return name_of(address, size);
}

std::string peer_name(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return name_of(address, size);
}

int local_port(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    if (address.ss_family == AF_INET6) {
        return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    }
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace egpu::http
