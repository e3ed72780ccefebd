#include "http/tls.h"

#include <cerrno>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

namespace egpu::http {

namespace {

struct BioDeleter {
    void operator()(BIO* bio) const { BIO_free(bio); }
};
struct X509Deleter {
    void operator()(X509* x) const { X509_free(x); }
};
struct KeyDeleter {
    void operator()(EVP_PKEY* k) const { EVP_PKEY_free(k); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;
using X509Ptr = std::unique_ptr<X509, X509Deleter>;

std::string last_reason() {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != nullptr ? reason : "unknown error";
}

Error pem_error(const PemBundle& pem, std::string_view what) {
    std::string message = pem.source.empty() ? "" : pem.source + ": ";
    message.append(what).append(": ").append(last_reason());
    return Error{ErrorCode::kInvalid, std::move(message)};
}

BioPtr reader(const std::string& text) {
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Without it OpenSSL would ask for the password on the terminal.
int no_password(char*, int, int, void*) {
    return 0;
}

Status use_certificate(SSL_CTX* context, const PemBundle& pem) {
    const BioPtr cert = reader(pem.cert);
    const X509Ptr leaf(PEM_read_bio_X509(cert.get(), nullptr, no_password, nullptr));
    if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
        return pem_error(pem, "the certificate is not usable PEM");
    }
    while (X509* next = PEM_read_bio_X509(cert.get(), nullptr, no_password, nullptr)) {
        if (SSL_CTX_add_extra_chain_cert(context, next) != 1) {
            X509_free(next);
            return pem_error(pem, "the certificate chain is not usable");
        }
    }
    ERR_clear_error();  // the end of the file
    const BioPtr key = reader(pem.key);
    const std::unique_ptr<EVP_PKEY, KeyDeleter> secret(
        PEM_read_bio_PrivateKey(key.get(), nullptr, no_password, nullptr)
    );
    if (!secret)
        return pem_error(pem, "the private key is not usable PEM (encrypted keys are not)");
    if (SSL_CTX_use_PrivateKey(context, secret.get()) != 1) {
        return pem_error(pem, "the private key does not belong to the certificate");
    }
    return ok_status();
}

Status trust(SSL_CTX* context, const PemBundle& pem, bool announce) {
    const BioPtr ca = reader(pem.ca);
    int count = 0;
    while (X509* next = PEM_read_bio_X509(ca.get(), nullptr, no_password, nullptr)) {
        const X509Ptr anchor(next);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), anchor.get());
        if (announce) SSL_CTX_add_client_CA(context, anchor.get());
        ++count;
    }
    if (count == 0) return pem_error(pem, "the CA holds no PEM certificate");
    ERR_clear_error();
    return ok_status();
}

Result<TlsContext> new_context(const SSL_METHOD* method) {
    TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
    if (!context) return Error{ErrorCode::kInternal, "OpenSSL gave no context: " + last_reason()};
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_mode(
        context.get(),
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
            SSL_MODE_RELEASE_BUFFERS
    );
    // HTTP's own framing shows a truncated message.
    SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    return context;
}

int bio_fd(BIO* bio) {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int bio_write(BIO* bio, const char* data, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t n = ::send(bio_fd(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        BIO_set_retry_write(bio);
    }
    return static_cast<int>(n);
}

int bio_read(BIO* bio, char* into, int size) {
    BIO_clear_retry_flags(bio);
    const ssize_t n = ::recv(bio_fd(bio), into, static_cast<std::size_t>(size), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        BIO_set_retry_read(bio);
    }
    if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return static_cast<int>(n);
}

long bio_control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    return 0;
}

const BIO_METHOD* bio_method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "edge-gpu");
        EG_CHECK(m != nullptr);
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_ctrl(m, bio_control);
        return m;
    }();
    return method;
}

bool is_address(const std::string& host) {
    unsigned char scratch[16];
    return ::inet_pton(AF_INET, host.c_str(), scratch) == 1 ||
           ::inet_pton(AF_INET6, host.c_str(), scratch) == 1;
}

}  // namespace

Result<TlsContext> make_server_context(const PemBundle& pem, bool require) {
    EG_TRY(TlsContext context, new_context(TLS_server_method()));
    EG_TRY_VOID(use_certificate(context.get(), pem));
    static constexpr unsigned char kSessionContext[] = "edge-gpu";
    SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof kSessionContext - 1);
    if (pem.ca.empty()) return context;
    EG_TRY_VOID(trust(context.get(), pem, true));
    SSL_CTX_set_verify(
        context.get(), SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr
    );
    return context;
}

Result<TlsContext> make_client_context(const PemBundle& pem, bool insecure) {
    EG_TRY(TlsContext context, new_context(TLS_client_method()));
    if (!pem.cert.empty()) EG_TRY_VOID(use_certificate(context.get(), pem));
    if (insecure) {
        SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
        return context;
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    if (!pem.ca.empty()) {
        EG_TRY_VOID(trust(context.get(), pem, false));
    } else {
        SSL_CTX_set_default_verify_paths(context.get());
        ERR_clear_error();
    }
    return context;
}

void end_tls_thread() {
    OPENSSL_thread_stop();
}

TlsSession make_server_session(const TlsContext& context) {
    TlsSession session(SSL_new(context.get()));
    EG_CHECK(session);
    SSL_set_accept_state(session.get());
    return session;
}

Result<TlsSession> make_client_session(
    const TlsContext& context, const std::string& host, bool insecure
) {
    TlsSession session(SSL_new(context.get()));
    EG_CHECK(session);
    SSL_set_connect_state(session.get());
    const bool address = is_address(host);
    // SSL_set_tlsext_host_name() without its C cast.
    if (!address && SSL_ctrl(
                        session.get(),
                        SSL_CTRL_SET_TLSEXT_HOSTNAME,
                        TLSEXT_NAMETYPE_host_name,
                        const_cast<char*>(host.c_str())
                    ) != 1) {
        return Error{ErrorCode::kInvalid, "\"" + host + "\" is no server name: " + last_reason()};
    }
    if (insecure) return session;
    const int set = address
                        ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), host.c_str())
                        : SSL_set1_host(session.get(), host.c_str());
    if (set != 1) return Error{ErrorCode::kInvalid, "cannot verify the host name \"" + host + "\""};
    return session;
}

void attach_socket(SSL* ssl, int fd) {
    BIO* bio = BIO_new(bio_method());
    EG_CHECK(bio != nullptr);
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
}

Error tls_error(SSL* ssl, const char* what) {
    const unsigned long code = ERR_peek_last_error();
    const long verified = SSL_get_verify_result(ssl);
    std::string message = std::string(what) + ": ";
    const int reason = ERR_GET_REASON(code);
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
        ERR_clear_error();
        message += "the peer's certificate is not accepted: ";
        message += X509_verify_cert_error_string(verified);
        return Error{ErrorCode::kPermission, std::move(message)};
    }
    // Alerts of the peer are numbered from 1000: it refused our certificate or our version.
    const bool refused = reason >= 1000 || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
    message += last_reason();
    return Error{refused ? ErrorCode::kPermission : ErrorCode::kUnavailable, std::move(message)};
}

std::string verified_peer_cn(SSL* ssl) {
    const X509Ptr peer(SSL_get1_peer_certificate(ssl));
    if (!peer || SSL_get_verify_result(ssl) != X509_V_OK) return {};
    X509_NAME* subject = X509_get_subject_name(peer.get());
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return {};
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) return {};
    std::string cn(reinterpret_cast<char*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
    return cn;
}

}  // namespace egpu::http
