#include "cli/render_config.h"

#include <algorithm>
#include <string_view>

#include "base/json.h"
#include "cli/kube_version.h"
#include "core/request.h"

namespace egpu::cli {

using core::kResourcePercent;
using core::kResourceWhole;

namespace {

// Plain where YAML reads plain text as the same text, else in double quotes.
std::string yaml_text(const std::string& text) {
    const bool plain =
        !text.empty() && text.front() == '/' && std::all_of(text.begin(), text.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '/' || c == '.' || c == '-' || c == '_';
        });
    if (plain) return text;
    std::string quoted;
    json::append_quoted(quoted, text);
    return quoted;
}

const char* yaml_bool(bool value) {
    return value ? "true" : "false";
}

std::string duration_text(std::int64_t milliseconds) {
    return milliseconds % 1000 == 0 ? std::to_string(milliseconds / 1000) + "s"
                                    : std::to_string(milliseconds) + "ms";
}

// "  key: value" with a comment in one column.
std::string line(std::string text, std::string_view comment) {
    constexpr std::size_t kColumn = 36;
    text.resize(std::max(text.size() + 2, kColumn), ' ');
    return text + "# " + std::string(comment) + "\n";
}

std::string tls_lines(const ConfigSettings& settings) {
    if (settings.tls_ca.empty()) return "";
    std::string out = "  enableHTTPS: true\n  tlsConfig:\n";
    out += line("    caFile: " + yaml_text(settings.tls_ca), "without a CA nothing is verified");
    const std::pair<const char*, const std::string&> rest[] = {
        {"certFile", settings.tls_cert},
        {"keyFile", settings.tls_key},
        {"serverName", settings.tls_server_name}};
    for (const auto& [key, value] : rest) {
        if (!value.empty()) out += std::string("    ") + key + ": " + yaml_text(value) + "\n";
    }
    return out;
}

}  // namespace

std::string render_configuration(const ConfigSettings& settings) {
    std::string out = "# For kube-scheduler 1." + std::to_string(settings.minor) +
                      ": its flag --config names this file.\n";
    out += "apiVersion: " + std::string(kConfigGroup) + "/" +
           std::string(best_config_api(settings.minor)) + "\nkind: KubeSchedulerConfiguration\n";
    if (!settings.kubeconfig.empty()) {
        out += "clientConnection:\n";
        out += line(
            "  kubeconfig: " + yaml_text(settings.kubeconfig),
            "with --config the flag --kubeconfig has no effect"
        );
    }
    out +=
        std::string("leaderElection:\n  leaderElect: ") + yaml_bool(settings.leader_elect) + "\n";
    out += line(
        "percentageOfNodesToScore: 100",
        "packing needs to see every node; by default large clusters are sampled"
    );
    out += "extenders:\n";
    if (!settings.cluster_dns) {
        out +=
            "# kube-scheduler resolves no Service names: its pod uses the host's network and "
            "DNS.\n";
    }
    out += "- urlPrefix: " + yaml_text(settings.extender_url) + "\n";
    out += tls_lines(settings);
    out += "  filterVerb: filter\n  prioritizeVerb: priorities\n";
    out += line("  bindVerb: bind", "edge-gpu binds: node and placement in one write");
    out += line("  preemptVerb: preempt", "without it preemption evicts pods that free no card");
    out += line(
        "  weight: " + std::to_string(settings.weight),
        "one step of edge-gpu's score counts ten times this; the other plugins sum up to 1200"
    );
    out += line(
        "  httpTimeout: " + duration_text(settings.http_timeout_ms),
        "above the extender's --bind-timeout (4s)"
    );
    out += line(
        std::string("  nodeCacheCapable: ") + yaml_bool(settings.node_cache_capable),
        settings.node_cache_capable ? "node names are sent, not whole Node objects"
                                    : "whole Node objects are sent with every call"
    );
    out += line(
        "  ignorable: false", "true would bind pods without a card while the extender is away"
    );
    out +=
        "  # ignoredByScheduler stays false: kube-scheduler's own count of each node keeps "
        "hopeless nodes away from\n"
        "  # the extender and lets preemption find whom to evict.\n"
        "  managedResources:\n";
    out += "  - name: " + std::string(kResourcePercent) + "\n    ignoredByScheduler: false\n";
    if (settings.whole_cards) {
        out += "  - name: " + std::string(kResourceWhole) + "\n    ignoredByScheduler: false\n";
    }
    return out;
}

std::string render_policy(const ConfigSettings& settings) {
    const auto quoted = [](std::string_view text) {
        std::string out;
        json::append_quoted(out, text);
        return out;
    };
    std::string out =
        "{\n  \"kind\": \"Policy\",\n  \"apiVersion\": \"v1\",\n  \"extenders\": [\n    {\n";
    const auto field = [&](std::string_view key, const std::string& value) {
        out += "      " + quoted(key) + ": " + value + ",\n";
    };
    field("urlPrefix", quoted(settings.extender_url));
    field("enableHttps", yaml_bool(!settings.tls_ca.empty()));
    if (!settings.tls_ca.empty()) {
        std::string tls = "{\"caFile\": " + quoted(settings.tls_ca);
        if (!settings.tls_cert.empty()) {
            tls += ", \"certFile\": " + quoted(settings.tls_cert) +
                   ", \"keyFile\": " + quoted(settings.tls_key);
        }
        if (!settings.tls_server_name.empty())
            tls += ", \"serverName\": " + quoted(settings.tls_server_name);
        field("tlsConfig", tls + "}");
    }
    field("filterVerb", "\"filter\"");
    field("prioritizeVerb", "\"priorities\"");
    field("bindVerb", "\"bind\"");
    field("preemptVerb", "\"preempt\"");
    field("weight", std::to_string(settings.weight));
    field("httpTimeout", std::to_string(settings.http_timeout_ms * 1'000'000));
    field("nodeCacheCapable", yaml_bool(settings.node_cache_capable));
    field("ignorable", "false");
    const auto resource = [&](std::string_view name) {
        return "        {\"name\": " + quoted(name) + ", \"ignoredByScheduler\": false}";
    };
    out += "      \"managedResources\": [\n" + resource(kResourcePercent);
    if (settings.whole_cards) out += ",\n" + resource(kResourceWhole);
    out += "\n      ]\n    }\n  ]\n}\n";
    return out;
}

}  // namespace egpu::cli
