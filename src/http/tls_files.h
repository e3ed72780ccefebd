// The server's TLS context, rebuilt when its PEM files have changed (looked at every ten seconds at
// most). New files that are not usable leave the old context in place. Thread-safe.
#pragma once

#include <mutex>

#include "base/clock.h"
#include "http/server.h"
#include "http/tls.h"

namespace egpu::http {

class TlsFiles {
  public:
    explicit TlsFiles(ServerTls options) : options_(std::move(options)) {}

    Status load();
    TlsContext current();

  private:
    Result<PemBundle> read() const;

    const ServerTls options_;
    std::mutex mutex_;
    PemBundle pem_;
    TlsContext context_;
    TimePoint checked_;
};

}  // namespace egpu::http
