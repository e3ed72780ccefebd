#include "cli/scheduler_config.h"

#include <cstdio>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "cli/check_config.h"
#include "cli/scheduler_config_options.h"
#include "flags/command_line.h"

namespace egpu::cli {
namespace {

constexpr std::size_t kMaxFile = 1U << 20;
constexpr int kErrorsFound = 1;
constexpr int kCannotRead = 2;  // and wrong flags

int complain(const std::string& message) {
    std::fprintf(stderr, "edge-gpu scheduler-config: %s\n", message.c_str());
    return kCannotRead;
}

std::string report_json(const CheckedConfig& checked, const SchedulerConfigOptions& options) {
    json::object out{
        {"file", options.check_file},
        {"kind", checked.kind},
        {"apiVersion", checked.api_version},
        {"kubernetes", options.minor ? "1." + std::to_string(*options.minor) : std::string()},
        {"errors", checked.findings.errors()},
        {"warnings", checked.findings.warnings()},
        {"findings", as_json(checked.findings)}};
    return json::to_text(out) + "\n";
}

int check(const SchedulerConfigOptions& options) {
    const auto text = read_file(options.check_file, kMaxFile);
    if (!text) return complain(text.error().message);
    const auto checked = check_config(*text, {options.minor, options.settings.cluster_dns});
    if (!checked)
        return complain(options.check_file + ": is no YAML or JSON: " + checked.error().message);
    const std::string report = options.json ? report_json(*checked, options)
                                            : as_text(checked->findings, options.check_file);
    std::fputs(report.c_str(), stdout);
    return checked->findings.errors() > 0 ? kErrorsFound : 0;
}

// What is printed passes the same check as a file of the user's: a flag such as a URL that
// kube-scheduler cannot reach is refused, a questionable one is printed with a warning.
int print(const SchedulerConfigOptions& options) {
    const std::string text =
        options.policy ? render_policy(options.settings) : render_configuration(options.settings);
    const auto checked = check_config(text, {options.minor, options.settings.cluster_dns});
    if (!checked) return complain("the result would not be readable: " + checked.error().message);
    for (const Finding& finding : checked->findings.all()) {
        if (finding.code == "resource-missing" && !options.settings.whole_cards) continue;
        if (finding.code == "node-cache" && !options.settings.node_cache_capable) continue;
        std::fprintf(
            stderr,
            "edge-gpu scheduler-config: %s: %s: %s; fix: %s\n",
            finding.severity == Severity::kError ? "error" : "warning",
            finding.path.c_str(),
            finding.message.c_str(),
            finding.fix.c_str()
        );
    }
    if (checked->findings.errors() > 0) return kCannotRead;
    std::fputs(text.c_str(), stdout);
    if (options.policy) {
        std::fputs(
            "kube-scheduler takes this file with --policy-config-file. A Policy has no room for "
            "percentageOfNodesToScore:\n"
            "set it to 100 in the file of kube-scheduler's --config, or large clusters are "
            "sampled.\n",
            stderr
        );
    }
    return 0;
}

}  // namespace

int run_scheduler_config(int argc, char** argv) {
    const auto options = parse_scheduler_config_options(flags::without_program(argc, argv));
    if (!options) return complain(options.error().message);
    if (!options->help.empty()) {
        std::fputs(options->help.c_str(), stdout);
        return 0;
    }
    return options->check_file.empty() ? print(*options) : check(*options);
}

}  // namespace egpu::cli
