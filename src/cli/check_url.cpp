#include <algorithm>

#include "cli/check_extender.h"
#include "http/message.h"

namespace egpu::cli {
namespace {

constexpr Key kTlsKeys[] = {
    {"insecure", KeyType::kBool},
    {"serverName", KeyType::kText},
    {"certFile", KeyType::kText},
    {"keyFile", KeyType::kText},
    {"caFile", KeyType::kText},
    {"certData", KeyType::kText},
    {"keyData", KeyType::kText},
    {"caData", KeyType::kText}};
constexpr const char* kExample = "http://127.0.0.1:39999/scheduler";

std::string_view https_key(ConfigKind kind) {
    return kind == ConfigKind::kPolicy ? "enableHttps" : "enableHTTPS";
}

// Does the text name a port? http::Url fills in the default one.
bool has_port(std::string_view url) {
    std::string_view authority = url.substr(url.find("://") + 3);
    authority = authority.substr(0, authority.find('/'));
    const std::size_t colon = authority.rfind(':');
    const std::size_t bracket = authority.rfind(']');
    if (colon == std::string_view::npos || colon + 1 == authority.size()) return false;
    return bracket == std::string_view::npos || colon > bracket;
}

bool is_address_literal(std::string_view host) {
    return host.find(':') != std::string_view::npos ||
           host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// A name that only the cluster's own DNS knows.
bool is_cluster_name(std::string_view host) {
    return host.ends_with(".svc") || host.find(".svc.") != std::string_view::npos ||
           host.ends_with(".cluster.local");
}

bool through_api_server(std::string_view prefix) {
    return prefix.starts_with("/api/v1/") && prefix.find("/services/") != std::string_view::npos &&
           prefix.find("/proxy") != std::string_view::npos;
}

// The error without the URL it repeats.
std::string reason(const std::string& message) {
    const std::size_t end = message.rfind("\": ");
    return end == std::string::npos ? message : message.substr(end + 3);
}

struct Where {
    std::string path;
    int line;
};

void check_path(const http::Url& url, const Where& at, Findings& findings) {
    if (url.prefix.ends_with("/scheduler")) return;
    std::string why = "does not end in /scheduler, where edge-gpu answers: every call ends in 404";
    for (const char* verb : {"/filter", "/priorities", "/bind", "/preempt"}) {
        if (url.prefix.ends_with(verb)) {
            why = std::string("ends in a verb: kube-scheduler appends ") + verb +
                  " itself, and every call ends in 404";
        }
    }
    findings.error("url-path", at.path, at.line, why, std::string("for example ") + kExample);
}

void check_host(
    const http::Url& url,
    bool port,
    const Where& at,
    const CheckOptions& options,
    Findings& findings
) {
    if (!options.cluster_dns && is_cluster_name(url.host)) {
        findings.error(
            "url-host",
            at.path,
            at.line,
            shown(url.host) +
                " is a name of the cluster's DNS, which kube-scheduler as a hostNetwork pod does "
                "not "
                "ask (unless its pod has dnsPolicy: ClusterFirstWithHostNet)",
            "the Service's ClusterIP, or 127.0.0.1 with edge-gpu beside kube-scheduler; "
            "--cluster-dns if it "
            "resolves there"
        );
    } else if (!options.cluster_dns && url.host != "localhost" && !is_address_literal(url.host) && url.host.find('.') == std::string::npos) {
        findings.warning(
            "url-host",
            at.path,
            at.line,
            shown(url.host) +
                " is a bare name; if it is a Service, kube-scheduler as a hostNetwork pod cannot "
                "resolve it",
            "the Service's ClusterIP, or 127.0.0.1 with edge-gpu beside kube-scheduler; "
            "--cluster-dns if it "
            "resolves there"
        );
    }
    if (!port) {
        findings.error(
            "url-port",
            at.path,
            at.line,
            "has no port, so kube-scheduler calls port " + std::to_string(url.port) +
                "; edge-gpu listens on 39999",
            std::string("for example ") + kExample
        );
    }
}

void check_proxy(const http::Url& url, const Fields* tls, const Where& at, Findings& findings) {
    const bool credentials = tls != nullptr && (tls->has("certFile") || tls->has("certData"));
    if (!url.tls) {
        findings.error(
            "url-proxy",
            at.path,
            at.line,
            "goes through the API server's service proxy over plain HTTP: the API server speaks "
            "TLS only and "
            "answers 400 to every call (the insecure port is gone)",
            std::string("reach edge-gpu directly, for example ") + kExample
        );
    } else if (!credentials) {
        findings.error(
            "url-proxy",
            at.path,
            at.line,
            "goes through the API server's service proxy without credentials: kube-scheduler sends "
            "an extender no "
            "token, and the API server answers 401 or 403",
            std::string("reach edge-gpu directly, for example ") + kExample +
                "; or give tlsConfig a client certificate with the right to create services/proxy"
        );
    } else {
        findings.warning(
            "url-proxy",
            at.path,
            at.line,
            "goes through the API server's service proxy: another hop for every call, and the "
            "certificate's user "
            "must keep the right to create services/proxy",
            std::string("reach edge-gpu directly, for example ") + kExample
        );
    }
}

void check_left_over(const http::Url& url, const Where& at, Findings& findings) {
    const bool service = url.host.find("elastic-gpu-scheduler") != std::string::npos ||
                         url.prefix.find("elastic-gpu-scheduler") != std::string::npos;
    if (!service && url.port != 12345) return;
    findings.warning(
        "left-over",
        at.path,
        at.line,
        service ? "names elastic-gpu-scheduler, which edge-gpu does not take the place of"
                : "port 12345 is that of nano-gpu-scheduler v0.1; edge-gpu listens on 39999",
        std::string("for example ") + kExample
    );
}

void check_tls(
    const Fields& extender, const Fields* tls, bool https, ConfigKind kind, Findings& findings
) {
    const std::string_view key = https_key(kind);
    const bool enabled = extender.flag(key);
    if (!https && enabled) {
        findings.error(
            "https-scheme",
            extender.path(key),
            extender.line(key),
            "is true, but urlPrefix starts with http://, and the URL alone decides: calls are "
            "plain HTTP",
            "write https:// in urlPrefix and serve it (edge-gpu scheduler --tls-cert, --tls-key), "
            "or set it to false"
        );
    }
    const auto given = [&](const char* one, const char* other) {
        return tls != nullptr && (tls->has(one) || tls->has(other));
    };
    const bool ca = given("caFile", "caData");
    const bool insecure = tls != nullptr && tls->flag("insecure");
    const bool cert = given("certFile", "certData");
    const bool secret = given("keyFile", "keyData");
    const std::string where = extender.path("tlsConfig");
    const int line = extender.line("tlsConfig");
    if (cert != secret) {
        findings.error(
            "tls-pair",
            where,
            line,
            cert ? "has a client certificate without its key; kube-scheduler does not start"
                 : "has a client key without its certificate; kube-scheduler does not start",
            "certFile and keyFile belong together"
        );
    }
    if (insecure && ca) {
        findings.error(
            "tls-conflict",
            where,
            line,
            "has a CA and insecure: true; kube-scheduler does not start with both",
            "remove insecure"
        );
    } else if (https && (insecure || (enabled && !ca))) {
        findings.warning(
            "tls-unverified",
            insecure ? join_path(where, "insecure") : extender.path(key),
            insecure ? line : extender.line(key),
            "edge-gpu's certificate is not verified: whoever answers at that address decides where "
            "GPU pods go",
            "tlsConfig: {caFile: …}, the CA of edge-gpu's certificate"
        );
    }
}

}  // namespace

void check_url(
    const Fields& extender, ConfigKind kind, const CheckOptions& options, Findings& findings
) {
    std::optional<Fields> tls;
    if (const Node* node = extender.node("tlsConfig")) {
        tls.emplace(*node, kTlsKeys, extender.path("tlsConfig"), Strictness::kRefuses, findings);
    }
    const Fields* tls_fields = tls ? &*tls : nullptr;
    const Where at{extender.path("urlPrefix"), extender.line("urlPrefix")};
    const auto text = extender.text("urlPrefix");
    if (!text || text->empty()) {
        if (!extender.has("urlPrefix") || text) {
            findings.error(
                "url",
                at.path,
                at.line,
                "not set: kube-scheduler has nowhere to call",
                std::string("urlPrefix: ") + kExample
            );
        }
        return;
    }
    const auto url = http::parse_url(*text);
    if (!url) {
        findings.error(
            "url",
            at.path,
            at.line,
            shown(*text) +
                " is no URL that edge-gpu can be reached at: " + reason(url.error().message),
            std::string("for example ") + kExample
        );
        return;
    }
    check_path(*url, at, findings);
    if (through_api_server(url->prefix)) {
        check_proxy(*url, tls_fields, at, findings);
    } else {
        check_host(*url, has_port(*text), at, options, findings);
    }
    check_left_over(*url, at, findings);
    check_tls(extender, tls_fields, url->tls, kind, findings);
}

}  // namespace egpu::cli
