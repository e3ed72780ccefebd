#include "scheduler/options.h"

#include <CLI/CLI.hpp>

#include "core/policy/scorer.h"
#include "flags/command_line.h"
#include "flags/log_flags.h"
#include "flags/values.h"
#include "scheduler/option_values.h"

namespace egpu::scheduler {
namespace {

using flags::bad_value;
using flags::parse_duration;
using flags::to_number;
using flags::value_of;

constexpr int kDefaultPort = 39999;

// The text of every flag before it is checked.
struct RawFlags {
    std::string kubeconfig, listen, policy = "auto", priority, tls_cert, tls_key, tls_client_ca;
    std::string lease_duration = "2s", renew_deadline = "1500ms", retry_period = "400ms";
    std::string reservation_ttl = "30s", bind_timeout = "4s", max_body = "256Mi";
    std::string max_connections = "256", count_cpu_memory = "true";
    flags::LogFlags log;
};

constexpr const char* kFooter =
    "\nEnvironment: KUBECONFIG (when --kubeconfig is absent), PORT (see --listen), THREADNESS\n"
    "(accepted, without effect: there is no worker pool to size).\n"
    "Flags may be written with one dash or two. Compatible with nano-gpu-scheduler v0.2/v0.3:\n"
    "-priority is --policy; -v 4 and above is --log-level debug; klog's output flags are "
    "accepted,\n"
    "the log goes to standard error whatever they say.\n";

void declare_flags(CLI::App& app, RawFlags& raw, Options& options) {
    app.add_option(
        "--kubeconfig",
        raw.kubeconfig,
        "kubeconfig file; default: $KUBECONFIG, else in-cluster, else ~/.kube/config"
    );
    app.add_option(
        "--listen",
        raw.listen,
        "address of the HTTP server, for example 127.0.0.1:39999; default: all interfaces at "
        "$PORT, "
        "or at 39999 when PORT is empty or not a number"
    );
    app.add_option("--policy", raw.policy, core::scorer_names() + " or random:SEED")
        ->default_str(raw.policy);
    app.add_option("--priority", raw.priority, "the same as --policy (nano-gpu-scheduler)");
    app.add_option(
           "--count-cpu-memory",
           raw.count_cpu_memory,
           "policies see the CPU and memory that pods leave on a node: true or false"
    )
        ->default_str(raw.count_cpu_memory);
    app.add_flag("--leader-elect", options.leader_elect, "bind only while holding the lease");
    app.add_option("--lease-name", options.lease_name, "name of the lease")
        ->default_str(options.lease_name);
    app.add_option("--lease-namespace", options.lease_namespace, "namespace of the lease")
        ->default_str(options.lease_namespace);
    app.add_option(
           "--lease-duration", raw.lease_duration, "a lease not renewed for this long is free"
    )
        ->default_str(raw.lease_duration);
    app.add_option("--renew-deadline", raw.renew_deadline, "the leader steps down after this long")
        ->default_str(raw.renew_deadline);
    app.add_option("--retry-period", raw.retry_period, "time between attempts at the lease")
        ->default_str(raw.retry_period);
    app.add_option("--tls-cert", raw.tls_cert, "certificate file (PEM): serve HTTPS");
    app.add_option("--tls-key", raw.tls_key, "key file of --tls-cert (PEM)");
    app.add_option(
        "--tls-client-ca", raw.tls_client_ca, "require client certificates of this CA (PEM)"
    );
    app.add_flag(
        "--compat-label",
        options.compat_label,
        "also write the label nano-gpu/assume=true after a bind"
    );
    app.add_option(
           "--reservation-ttl",
           raw.reservation_ttl,
           "a bind that never ends gives its cards back after this long"
    )
        ->default_str(raw.reservation_ttl);
    app.add_option(
           "--bind-timeout",
           raw.bind_timeout,
           "time for a bind; keep it below kube-scheduler's httpTimeout"
    )
        ->default_str(raw.bind_timeout);
    app.add_option("--max-body", raw.max_body, "largest request body")->default_str(raw.max_body);
    app.add_option("--max-connections", raw.max_connections, "most connections at once")
        ->default_str(raw.max_connections);
    raw.log.declare(app);
    app.add_flag(
        "--print-config", options.print_config, "print the effective configuration and exit"
    );
}

Status apply_durations(const RawFlags& raw, Options& options) {
    EG_TRY(options.lease_duration, parse_duration("lease-duration", raw.lease_duration));
    EG_TRY(options.renew_deadline, parse_duration("renew-deadline", raw.renew_deadline));
    EG_TRY(options.retry_period, parse_duration("retry-period", raw.retry_period));
    EG_TRY(options.reservation_ttl, parse_duration("reservation-ttl", raw.reservation_ttl));
    EG_TRY(options.bind_timeout, parse_duration("bind-timeout", raw.bind_timeout));
    if (options.lease_duration < Millis(1000)) {
        return bad_value(
            "lease-duration", raw.lease_duration, "at least 1s (a lease counts in seconds)"
        );
    }
    if (options.renew_deadline >= options.lease_duration) {
        return bad_value(
            "renew-deadline",
            raw.renew_deadline,
            "shorter than --lease-duration " + raw.lease_duration
        );
    }
    if (options.retry_period * 12 >= options.renew_deadline * 10) {
        return bad_value(
            "retry-period",
            raw.retry_period,
            "shorter than --renew-deadline " + raw.renew_deadline + " divided by 1.2"
        );
    }
    if (options.reservation_ttl <= options.bind_timeout) {
        return bad_value(
            "reservation-ttl", raw.reservation_ttl, "longer than --bind-timeout " + raw.bind_timeout
        );
    }
    return ok_status();
}

Status apply_address(const RawFlags& raw, const Environment& environment, Options& options) {
    if (!raw.listen.empty()) {
        options.listen = raw.listen;
        return check_listen(options.listen);
    }
    const auto port = to_number<std::uint16_t>(value_of(environment, "PORT"));
    options.listen = ":" + std::to_string(port && *port != 0 ? *port : kDefaultPort);
    return ok_status();
}

Status apply_flags(const RawFlags& raw, const Environment& environment, Options& options) {
    options.kubeconfig = raw.kubeconfig;
    EG_TRY_VOID(apply_address(raw, environment, options));
    options.policy = raw.policy;
    EG_TRY_VOID(check_policy("policy", raw.policy));
    if (!raw.priority.empty()) {
        EG_TRY_VOID(check_policy("priority", raw.priority));
        options.policy = raw.priority;
    }
    EG_TRY(options.count_host, flags::parse_bool("count-cpu-memory", raw.count_cpu_memory));
    EG_TRY_VOID(raw.log.apply(options.log_level, options.log_format));
    EG_TRY_VOID(apply_durations(raw, options));
    EG_TRY(options.max_body, flags::parse_size("max-body", raw.max_body));
    const auto connections = to_number<int>(raw.max_connections);
    if (!connections || *connections < 1) {
        return bad_value("max-connections", raw.max_connections, "a number above 0");
    }
    options.max_connections = *connections;
    options.tls_cert = raw.tls_cert;
    options.tls_key = raw.tls_key;
    options.tls_client_ca = raw.tls_client_ca;
    if (options.tls_cert.empty() != options.tls_key.empty()) {
        return Error{ErrorCode::kInvalid, "--tls-cert and --tls-key have to be given together"};
    }
    if (!options.tls_client_ca.empty() && options.tls_cert.empty()) {
        return Error{ErrorCode::kInvalid, "--tls-client-ca needs --tls-cert and --tls-key"};
    }
    if (options.leader_elect && (options.lease_name.empty() || options.lease_namespace.empty())) {
        return Error{ErrorCode::kInvalid, "--lease-name and --lease-namespace must not be empty"};
    }
    const std::string threads = value_of(environment, "THREADNESS");
    if (!threads.empty()) options.notes.push_back("env THREADNESS=" + threads + " has no effect");
    return ok_status();
}

}  // namespace

Result<ParsedOptions> parse_options(
    const std::vector<std::string>& arguments, const Environment& environment
) {
    ParsedOptions parsed;
    RawFlags raw;
    CLI::App app{
        "Scheduler extender for kube-scheduler: filters, scores, preempts for and binds pods that "
        "ask for GPUs.",
        "edge-gpu scheduler"};
    app.footer(kFooter);
    declare_flags(app, raw, parsed.options);
    EG_TRY(parsed.text, flags::parse(app, arguments));
    if (!parsed.text.empty()) return parsed;
    parsed.options.notes = raw.log.notes();
    EG_TRY_VOID(apply_flags(raw, environment, parsed.options));
    if (parsed.options.print_config) parsed.text = describe(parsed.options);
    return parsed;
}

std::string describe(const Options& options) {
    const auto milliseconds = [](Millis value) { return std::to_string(value.count()) + "ms"; };
    const auto text = [](const std::string& value) { return "\"" + value + "\""; };
    constexpr const char* kLevels[] = {"debug", "info", "warn", "error", "off"};
    const std::pair<const char*, std::string> lines[] = {
        {"kubeconfig",
         options.kubeconfig.empty() ? "\"\"  # $KUBECONFIG, in-cluster or ~/.kube/config"
                                    : text(options.kubeconfig)},
        {"listen", text(options.listen)},
        {"policy", text(options.policy)},
        {"countCPUMemory", options.count_host ? "true" : "false"},
        {"leaderElect", options.leader_elect ? "true" : "false"},
        {"leaseName", text(options.lease_name)},
        {"leaseNamespace", text(options.lease_namespace)},
        {"leaseDuration", milliseconds(options.lease_duration)},
        {"renewDeadline", milliseconds(options.renew_deadline)},
        {"retryPeriod", milliseconds(options.retry_period)},
        {"tlsCert", text(options.tls_cert)},
        {"tlsKey", text(options.tls_key)},
        {"tlsClientCA", text(options.tls_client_ca)},
        {"compatLabel", options.compat_label ? "true" : "false"},
        {"reservationTTL", milliseconds(options.reservation_ttl)},
        {"bindTimeout", milliseconds(options.bind_timeout)},
        {"maxBody", std::to_string(options.max_body)},
        {"maxConnections", std::to_string(options.max_connections)},
        {"logLevel", kLevels[static_cast<int>(options.log_level)]},
        {"logFormat", options.log_format == log::Format::kJson ? "json" : "logfmt"},
    };
    std::string out;
    for (const auto& [key, value] : lines) out += std::string(key) + ": " + value + "\n";
    return out;
}

}  // namespace egpu::scheduler
