#include "cli/check_config.h"

#include <span>
#include <string_view>

#include "cli/check_extender.h"
#include "cli/check_profiles.h"
#include "cli/document.h"
#include "cli/fields.h"
#include "cli/kube_version.h"

namespace egpu::cli {
namespace {

constexpr std::string_view kConfiguration = "KubeSchedulerConfiguration";
constexpr std::string_view kPolicyName = "Policy";

constexpr Key kConfigurationKeys[] = {
    {"apiVersion", KeyType::kText},
    {"kind", KeyType::kText},
    {"parallelism", KeyType::kInteger},
    {"leaderElection", KeyType::kMap},
    {"clientConnection", KeyType::kMap},
    {"healthzBindAddress", KeyType::kText},
    {"metricsBindAddress", KeyType::kText},
    {"enableProfiling", KeyType::kBool},
    {"enableContentionProfiling", KeyType::kBool},
    {"percentageOfNodesToScore", KeyType::kInteger},
    {"podInitialBackoffSeconds", KeyType::kInteger},
    {"podMaxBackoffSeconds", KeyType::kInteger},
    {"profiles", KeyType::kList},
    {"extenders", KeyType::kList},
    {"delayCacheUntilActive", KeyType::kBool}};
constexpr Key kLeaderElectionKeys[] = {
    {"leaderElect", KeyType::kBool},
    {"leaseDuration", KeyType::kDuration},
    {"renewDeadline", KeyType::kDuration},
    {"retryPeriod", KeyType::kDuration},
    {"resourceLock", KeyType::kText},
    {"resourceName", KeyType::kText},
    {"resourceNamespace", KeyType::kText}};
constexpr Key kClientConnectionKeys[] = {
    {"kubeconfig", KeyType::kText},
    {"acceptContentTypes", KeyType::kText},
    {"contentType", KeyType::kText},
    {"qps", KeyType::kNumber},
    {"burst", KeyType::kInteger}};
constexpr Key kPolicyKeys[] = {
    {"apiVersion", KeyType::kText},
    {"kind", KeyType::kText},
    {"predicates", KeyType::kList},
    {"priorities", KeyType::kList},
    {"extenders", KeyType::kList},
    {"hardPodAffinitySymmetricWeight", KeyType::kInteger},
    {"alwaysCheckAllPredicates", KeyType::kBool}};
constexpr Key kTypeKeys[] = {{"apiVersion", KeyType::kText}, {"kind", KeyType::kText}};

std::string what_to_write(const CheckOptions& options) {
    const int minor = options.minor.value_or(kNoLast);
    if (minor < kFirstConfigMinor) return "use a Policy: edge-gpu scheduler-config --policy-file";
    return "apiVersion: " + std::string(kConfigGroup) + "/" + std::string(best_config_api(minor));
}

void check_api_version(
    const Fields& top, const std::string& version, const CheckOptions& options, Findings& findings
) {
    const std::string path = top.path("apiVersion");
    const int line = top.line("apiVersion");
    const std::string prefix = std::string(kConfigGroup) + "/";
    const ConfigApi* api =
        version.starts_with(prefix) ? find_config_api(version.substr(prefix.size())) : nullptr;
    if (api == nullptr) {
        findings.error(
            "api-version",
            path,
            line,
            (version.empty() ? "not set"
                             : shown(version) + " is no API version of KubeSchedulerConfiguration"
            ) + std::string("; kube-scheduler refuses the file"),
            what_to_write(options)
        );
        return;
    }
    if (!options.minor || (*options.minor >= api->first && *options.minor <= api->last)) return;
    std::string served = "is served by Kubernetes 1." + std::to_string(api->first);
    served += api->last == kNoLast ? " and newer" : " to 1." + std::to_string(api->last);
    findings.error(
        "api-version-not-served",
        path,
        line,
        std::string(api->version) + " " + served + ", not by 1." + std::to_string(*options.minor) +
            "; kube-scheduler refuses the file",
        what_to_write(options)
    );
}

// A map under a top-level key has known keys, too.
void check_section(
    const Fields& top, std::string_view name, std::span<const Key> keys, Findings& findings
) {
    if (const Node* node = top.node(name)) {
        const Fields section(*node, keys, std::string(name), Strictness::kRefuses, findings);
    }
}

void check_configuration(const Node& root, const CheckOptions& options, CheckedConfig& out) {
    const Fields top(root, kConfigurationKeys, "", Strictness::kRefuses, out.findings);
    check_api_version(top, out.api_version, options, out.findings);
    check_section(top, "leaderElection", kLeaderElectionKeys, out.findings);
    check_section(top, "clientConnection", kClientConnectionKeys, out.findings);
    check_percentage(top, true, out.findings);
    if (const Node* profiles = top.node("profiles")) check_profiles(*profiles, out.findings);
    if (top.has("extenders") && top.node("extenders") == nullptr) return;  // its type is wrong
    check_extenders(
        top.node("extenders"),
        "extenders",
        top.line("extenders"),
        ConfigKind::kConfiguration,
        options,
        out.findings
    );
}

void check_policy(const Node& root, const CheckOptions& options, CheckedConfig& out) {
    const Fields top(root, kPolicyKeys, "", Strictness::kRefuses, out.findings);
    if (out.api_version != "v1") {
        out.findings.error(
            "api-version",
            top.path("apiVersion"),
            top.line("apiVersion"),
            (out.api_version.empty() ? "not set"
                                     : shown(out.api_version) + " is no API version of a Policy") +
                std::string("; kube-scheduler refuses the file"),
            "apiVersion: v1"
        );
    }
    if (options.minor && *options.minor > kLastPolicyMinor) {
        out.findings.error(
            "policy-not-read",
            top.path("kind"),
            top.line("kind"),
            "a Policy is read up to Kubernetes 1.22; kube-scheduler 1." +
                std::to_string(*options.minor) + " does not know --policy-config-file",
            "a KubeSchedulerConfiguration: edge-gpu scheduler-config --kubernetes 1." +
                std::to_string(*options.minor)
        );
    }
    if (top.has("extenders") && top.node("extenders") == nullptr) return;
    check_extenders(
        top.node("extenders"),
        "extenders",
        top.line("extenders"),
        ConfigKind::kPolicy,
        options,
        out.findings
    );
}

void check_root(const Node& root, const CheckOptions& options, CheckedConfig& out) {
    if (!root.is_map()) {
        out.findings.error(
            "kind",
            "",
            root.line,
            "is no map with apiVersion and kind",
            "edge-gpu scheduler-config prints one"
        );
        return;
    }
    if (const Node* kind = root.find("kind")) out.kind = kind->text;
    if (const Node* version = root.find("apiVersion")) out.api_version = version->text;
    if (out.kind == kConfiguration) {
        check_configuration(root, options, out);
    } else if (out.kind == kPolicyName) {
        check_policy(root, options, out);
    } else {
        Findings unheard;  // the keys of another kind say nothing
        const Fields top(root, kTypeKeys, "", Strictness::kRefuses, unheard);
        std::string fix = "kind: KubeSchedulerConfiguration (or Policy up to Kubernetes 1.22)";
        if (out.kind == "ConfigMap") fix = "check the file inside its data instead";
        out.findings.error(
            "kind",
            "kind",
            top.line("kind"),
            (out.kind.empty() ? "not set"
                              : shown(out.kind) + " is no configuration of kube-scheduler") +
                std::string("; kube-scheduler refuses the file"),
            fix
        );
    }
}

}  // namespace

Result<CheckedConfig> check_config(const std::string& text, const CheckOptions& options) {
    EG_TRY(const Document document, read_document(text));
    CheckedConfig out;
    check_root(document.root, options, out);
    if (document.more_follow) {
        out.findings.warning(
            "documents",
            "",
            0,
            "holds more than one document; kube-scheduler reads the first only",
            "one document a file"
        );
    }
    out.findings.sort();
    return out;
}

}  // namespace egpu::cli
