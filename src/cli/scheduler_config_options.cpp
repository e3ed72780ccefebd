#include "cli/scheduler_config_options.h"

#include <CLI/CLI.hpp>

#include "cli/kube_version.h"
#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::cli {
namespace {

using flags::bad_value;

constexpr const char* kFooter =
    "\nWith --check: exit status 0 when there are no errors (warnings alone do not count), 1 when "
    "there\n"
    "are, 2 when the file cannot be read.\n"
    "\nExamples:\n"
    "  edge-gpu scheduler-config --kubernetes 1.34 > /etc/kubernetes/edge-gpu-scheduler.yaml\n"
    "  edge-gpu scheduler-config --kubernetes 1.21 --policy-file > policy.json\n"
    "  edge-gpu scheduler-config --check /etc/kubernetes/scheduler-config.yaml --kubernetes 1.34\n";

struct RawFlags {
    std::string kubernetes, check, output = "text";
    std::string leader_elect = "true", weight = "200", http_timeout = "5s";
    std::string node_cache_capable = "true", whole_cards = "true";
};

// The flags that say what to print, by who takes them.
constexpr const char* kPrintFlags[] = {
    "--policy-file",
    "--extender-url",
    "--kubeconfig",
    "--leader-elect",
    "--weight",
    "--http-timeout",
    "--node-cache-capable",
    "--also-whole-cards",
    "--tls-ca",
    "--tls-cert",
    "--tls-key",
    "--tls-server-name"};
constexpr const char* kNotInPolicy[] = {"--kubeconfig", "--leader-elect"};

void declare_flags(CLI::App& app, RawFlags& raw, SchedulerConfigOptions& options) {
    ConfigSettings& settings = options.settings;
    app.add_option(
        "--kubernetes", raw.kubernetes, "the cluster's version, for example 1.21 or v1.34.2"
    );
    app.add_option(
        "--check",
        raw.check,
        "check this KubeSchedulerConfiguration or Policy instead of printing one"
    );
    app.add_option("--output,--o", raw.output, "with --check: text or json")
        ->default_str(raw.output);
    app.add_flag(
        "--cluster-dns",
        settings.cluster_dns,
        "kube-scheduler's pod resolves Service names (dnsPolicy ClusterFirst or "
        "ClusterFirstWithHostNet)"
    );
    app.add_flag(
        "--policy-file",
        options.policy,
        "print the legacy Policy (JSON, up to 1.22) instead of a KubeSchedulerConfiguration"
    );
    app.add_option(
           "--extender-url",
           settings.extender_url,
           "where kube-scheduler reaches edge-gpu scheduler"
    )
        ->default_str(settings.extender_url);
    app.add_option(
           "--kubeconfig",
           settings.kubeconfig,
           "kube-scheduler's own kubeconfig; \"\" when it runs as a pod with a ServiceAccount"
    )
        ->default_str(settings.kubeconfig);
    app.add_option("--leader-elect", raw.leader_elect, "of kube-scheduler: true or false")
        ->default_str(raw.leader_elect);
    app.add_option("--weight", raw.weight, "of edge-gpu's score among the scheduler's plugins")
        ->default_str(raw.weight);
    app.add_option("--http-timeout", raw.http_timeout, "of a call to edge-gpu")
        ->default_str(raw.http_timeout);
    app.add_option(
           "--node-cache-capable", raw.node_cache_capable, "send node names only: true or false"
    )
        ->default_str(raw.node_cache_capable);
    app.add_option(
           "--also-whole-cards",
           raw.whole_cards,
           "also manage nvidia.com/gpu: true, or false where another device plugin serves it"
    )
        ->default_str(raw.whole_cards);
    app.add_option(
        "--tls-ca", settings.tls_ca, "CA of edge-gpu's certificate; needed for an https URL"
    );
    app.add_option(
        "--tls-cert", settings.tls_cert, "kube-scheduler's client certificate for edge-gpu"
    );
    app.add_option("--tls-key", settings.tls_key, "key of --tls-cert");
    app.add_option(
        "--tls-server-name",
        settings.tls_server_name,
        "name in edge-gpu's certificate when it is not the URL's host"
    );
}

Status check_combination(const CLI::App& app, const SchedulerConfigOptions& options) {
    const auto invalid = [](std::string message) {
        return Error{ErrorCode::kInvalid, std::move(message)};
    };
    if (!options.check_file.empty()) {
        for (const char* flag : kPrintFlags) {
            if (app.count(flag) > 0)
                return invalid(std::string(flag) + " has no meaning with --check");
        }
        return ok_status();
    }
    if (app.count("--output") > 0) return invalid("--output needs --check");
    if (!options.minor)
        return invalid("--kubernetes is missing: the cluster's version, for example 1.34");
    const std::string version = "1." + std::to_string(*options.minor);
    if (options.policy && *options.minor > kLastPolicyMinor) {
        return invalid(
            "--policy-file: Kubernetes " + version +
            " reads no Policy (the last is 1.22); leave it out"
        );
    }
    if (!options.policy && *options.minor < kFirstConfigMinor) {
        return invalid(
            "--kubernetes: " + version + " reads extenders from a Policy only; add --policy-file"
        );
    }
    for (const char* flag : kNotInPolicy) {
        if (options.policy && app.count(flag) > 0) {
            return invalid(
                std::string(flag) +
                " has no place in a Policy; it is a flag of kube-scheduler there"
            );
        }
    }
    const ConfigSettings& settings = options.settings;
    const bool https = settings.extender_url.starts_with("https://");
    if (https && settings.tls_ca.empty()) {
        return invalid("--extender-url: https needs --tls-ca, or kube-scheduler verifies nothing");
    }
    const bool tls = !settings.tls_ca.empty() || !settings.tls_cert.empty() ||
                     !settings.tls_key.empty() || !settings.tls_server_name.empty();
    if (!https && tls) return invalid("the --tls-… flags need an https:// --extender-url");
    if (settings.tls_cert.empty() != settings.tls_key.empty()) {
        return invalid("--tls-cert and --tls-key have to be given together");
    }
    return ok_status();
}

Status apply_flags(const RawFlags& raw, SchedulerConfigOptions& options) {
    options.check_file = raw.check;
    if (!raw.kubernetes.empty()) {
        EG_TRY(options.minor, parse_kube_version("kubernetes", raw.kubernetes));
        options.settings.minor = *options.minor;
    }
    if (raw.output != "text" && raw.output != "json")
        return bad_value("output", raw.output, "text or json");
    options.json = raw.output == "json";
    EG_TRY(options.settings.leader_elect, flags::parse_bool("leader-elect", raw.leader_elect));
    EG_TRY(
        options.settings.node_cache_capable,
        flags::parse_bool("node-cache-capable", raw.node_cache_capable)
    );
    EG_TRY(options.settings.whole_cards, flags::parse_bool("also-whole-cards", raw.whole_cards));
    EG_TRY(const Millis timeout, flags::parse_duration("http-timeout", raw.http_timeout));
    options.settings.http_timeout_ms = timeout.count();
    const auto weight = flags::to_number<std::int64_t>(raw.weight);
    if (!weight || *weight < 1 || *weight > 1000)
        return bad_value("weight", raw.weight, "a number from 1 to 1000");
    options.settings.weight = *weight;
    return ok_status();
}

}  // namespace

Result<SchedulerConfigOptions> parse_scheduler_config_options(
    const std::vector<std::string>& arguments
) {
    SchedulerConfigOptions options;
    RawFlags raw;
    CLI::App app{
        "Prints kube-scheduler's configuration with edge-gpu as its extender, for a given version "
        "of "
        "Kubernetes, or checks an existing one and says what to change.",
        "edge-gpu scheduler-config"};
    app.footer(kFooter);
    declare_flags(app, raw, options);
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    EG_TRY_VOID(apply_flags(raw, options));
    if (app.count("--check") > 0 && options.check_file.empty())
        return bad_value("check", "", "a file");
    EG_TRY_VOID(check_combination(app, options));
    return options;
}

}  // namespace egpu::cli
