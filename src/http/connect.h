// Name lookup, connecting and listening, each with a deadline where it can block.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/stop.h"

namespace egpu::http {

// A connected, non-blocking TCP socket. All addresses of `host` are tried within the deadline.
// Errors: kUnavailable (nothing was sent, time-outs included), kStopped.
Result<Fd> connect_tcp(
    const std::string& host, int port, TimePoint deadline, const StopToken* stop
);

// "host:port"; "" and "*" as host are any address.
Result<Fd> listen_tcp(std::string_view address);

// "address:port" with brackets around IPv6, of our or the peer's end; "" when unknown.
std::string local_name(int fd);
std::string peer_name(int fd);
int local_port(int fd);

}  // namespace egpu::http
