// OpenSSL contexts from PEM text, and its errors in words. TLS 1.2 and later. Contexts are
// immutable and shared between threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/deadline_socket.h"

using SSL_CTX = struct ssl_ctx_st;

namespace egpu::http {

using TlsContext = std::shared_ptr<SSL_CTX>;
using TlsSession = std::unique_ptr<SSL, SslDeleter>;

struct PemBundle {
    std::string ca;  // trust anchors
    std::string cert;
    std::string key;
    std::string source;  // for messages
    bool operator==(const PemBundle&) const = default;
};

// `ca` non-empty: client certificates are asked for (and required when `require`).
Result<TlsContext> make_server_context(const PemBundle& pem, bool require);
// `ca` empty: the system's trust store. `insecure`: no verification.
Result<TlsContext> make_client_context(const PemBundle& pem, bool insecure);

TlsSession make_server_session(const TlsContext& context);
// At the end of a thread that used TLS: frees what OpenSSL keeps for it (errors, random numbers). A
// detached thread would do that at its very end, which may be after the process has begun to exit.
void end_tls_thread();
// `host` is verified (a name or an address) and sent as SNI (a name only).
Result<TlsSession> make_client_session(
    const TlsContext& context, const std::string& host, bool insecure
);

// For DeadlineSocket: reads and writes of `ssl` go to `fd` without raising SIGPIPE.
void attach_socket(SSL* ssl, int fd);
// The pending OpenSSL error as kPermission (certificates, alerts) or kUnavailable.
Error tls_error(SSL* ssl, const char* what);
std::string verified_peer_cn(SSL* ssl);

}  // namespace egpu::http
