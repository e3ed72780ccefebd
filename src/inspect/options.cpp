#include "inspect/options.h"

#include <CLI/CLI.hpp>

#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::inspect {
namespace {

constexpr int kMostCards = 100'000;

constexpr const char* kDescribeFooter =
    "\nUsed and free are counted in cards. A free part is stranded when a pod of the kind the "
    "cluster's pods are\n"
    "cannot use it; kinds count as often as they occur (docs/inspect.md).\n"
    "--free plans moves with the scheduler's own planner: models, memory caps, CPU and memory are "
    "respected; node\n"
    "selectors, affinity and taints are not. Nothing is ever changed.\n"
    "Exit status: 0 done; 1 --free is not possible; 2 the cluster could not be looked at.\n";

void connection_flags(CLI::App& app, std::string& kubeconfig, std::string& timeout) {
    app.add_option(
        "--kubeconfig",
        kubeconfig,
        "default: $KUBECONFIG, the pod's service account, ~/.kube/config"
    );
    app.add_option("--timeout", timeout, "for reading nodes and pods")->default_str(timeout);
}

}  // namespace

Result<SnapshotOptions> parse_snapshot_options(const std::vector<std::string>& arguments) {
    SnapshotOptions options;
    std::string timeout = "60s";
    CLI::App app{
        "Writes the cluster's nodes, cards and pods, and who holds what, as one JSON document that "
        "describe and simulate read.",
        "edge-gpu snapshot"};
    app.footer(
        "\nReads nodes and pods (list); changes nothing. Exit status: 0 written; 2 not. "
        "docs/inspect.md has the format.\n"
    );
    connection_flags(app, options.kubeconfig, timeout);
    app.add_option("--output,--o", options.file, "file to write (mode 0600), - for standard output")
        ->default_str(options.file);
    app.add_flag(
        "--anonymous", options.anonymous, "replace all names, UIDs and UUIDs by numbered ones"
    );
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    EG_TRY(options.timeout, flags::parse_duration("timeout", timeout));
    if (options.file.empty()) return flags::bad_value("output", "", "a file or -");
    return options;
}

Result<DescribeOptions> parse_describe_options(const std::vector<std::string>& arguments) {
    DescribeOptions options;
    std::string timeout = "60s";
    std::string output = "text";
    std::string what;
    std::string models;
    CLI::App app{
        "Says what is used and free, what of it is stranded and why, and which pods would have to "
        "move for whole cards.",
        "edge-gpu describe"};
    app.footer(kDescribeFooter);
    app.add_option("what", what, "cluster")->type_name("");
    connection_flags(app, options.kubeconfig, timeout);
    app.add_option(
        "--snapshot",
        options.snapshot,
        "look at this file of `edge-gpu snapshot`, - for standard input"
    );
    app.add_option("--output,--o", output, "text or json")->default_str(output);
    auto* free = app.add_option(
        "--free", options.free.cards, "the fewest pods whose move frees so many whole cards"
    );
    app.add_flag(
        "--anywhere", options.free.anywhere, "with --free: on all nodes together, not on one"
    );
    app.add_option(
        "--model",
        models,
        "with --free: of these models, as in edge-gpu.io/gpu-model: \"Tesla T4|A10\""
    );
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    if (what.empty()) {
        return Error{ErrorCode::kInvalid, "what to describe is missing: edge-gpu describe cluster"};
    }
    if (what != "cluster") {
        return Error{
            ErrorCode::kInvalid,
            "\"" + what + "\" is not cluster, the only thing that can be described"};
    }
    if (output != "text" && output != "json")
        return flags::bad_value("output", output, "text or json");
    options.as_json = output == "json";
    EG_TRY(options.timeout, flags::parse_duration("timeout", timeout));
    if (!options.snapshot.empty() && !options.kubeconfig.empty()) {
        return Error{ErrorCode::kInvalid, "--snapshot and --kubeconfig: only one of them"};
    }
    if (free->count() > 0 && (options.free.cards < 1 || options.free.cards > kMostCards)) {
        return flags::bad_value(
            "free", std::to_string(options.free.cards), "a number of cards from 1 on"
        );
    }
    if (free->count() == 0 && (options.free.anywhere || !models.empty())) {
        return Error{ErrorCode::kInvalid, "--anywhere and --model go with --free"};
    }
    for (std::size_t at = 0; at < models.size();) {
        const std::size_t bar = std::min(models.find('|', at), models.size());
        std::string one = models.substr(at, bar - at);
        while (!one.empty() && one.front() == ' ') one.erase(0, 1);
        while (!one.empty() && one.back() == ' ') one.pop_back();
        if (one.empty()) return flags::bad_value("model", models, "models with | between them");
        options.free.models.push_back(std::move(one));
        at = bar + 1;
    }
    return options;
}

}  // namespace egpu::inspect
