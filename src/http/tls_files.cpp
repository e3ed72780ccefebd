#include "http/tls_files.h"

#include "base/files.h"
#include "base/log.h"

namespace egpu::http {

namespace {
constexpr auto kTlsRecheck = Seconds(10);
}

Status TlsFiles::load() {
    EG_TRY(PemBundle pem, read());
    EG_TRY(TlsContext context, make_server_context(pem, options_.require_client_cert));
    const std::lock_guard lock(mutex_);
    pem_ = std::move(pem);
    context_ = std::move(context);
    checked_ = MonoClock::now();
    return ok_status();
}

TlsContext TlsFiles::current() {
    bool check = false;
    PemBundle known;
    {
        const std::lock_guard lock(mutex_);
        check = MonoClock::now() - checked_ > kTlsRecheck;
        if (!check) return context_;
        checked_ = MonoClock::now();
        known = pem_;
    }
    const auto pem = read();
    if (pem && !(*pem == known)) {
        if (const auto loaded = load(); !loaded) {
            log::warn(
                "new TLS files are not usable, serving with the old ones",
                {{"error", loaded.error().message}}
            );
        }
    }
    const std::lock_guard lock(mutex_);
    return context_;
}

Result<PemBundle> TlsFiles::read() const {
    PemBundle pem;
    pem.source = options_.cert_file;
    EG_TRY(pem.cert, read_file(options_.cert_file));
    EG_TRY(pem.key, read_file(options_.key_file));
    if (!options_.client_ca_file.empty()) {
        EG_TRY(pem.ca, read_file(options_.client_ca_file));
    }
    return pem;
}

}  // namespace egpu::http
