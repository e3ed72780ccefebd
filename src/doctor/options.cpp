#include "doctor/options.h"

#include <CLI/CLI.hpp>

#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::doctor {
namespace {

constexpr const char* kFooter =
    "\nExit status: 0 nothing above info; 1 warnings; 2 errors; 3 the doctor could not work; 4 no "
    "NVIDIA GPU here.\n"
    "Without --fix and --smoke nothing on the node is changed. --fix makes missing device nodes "
    "and "
    "/dev/char links,\n"
    "writes our CDI spec anew, and switches CDI on in containerd's configuration (a copy stays) "
    "where "
    "the agent\n"
    "injects by CDI; it shows first what it will do, and asks.\n"
    "NO_COLOR switches colours off; they are used on a terminal only. docs/doctor.md explains "
    "every "
    "finding.\n";

Status absolute(std::string_view flag, const std::string& path) {
    if (path.starts_with('/')) return ok_status();
    return flags::bad_value(flag, path, "an absolute path");
}

}  // namespace

Result<Options> parse_options(const std::vector<std::string>& arguments) {
    Options options;
    std::string output = "text";
    bool no_api = false;
    CLI::App app{
        "Looks at everything that GPU pods need on this node (driver, device nodes, container "
        "runtime, kubelet, API "
        "server) and says what to fix, with the command.",
        "edge-gpu doctor"};
    app.footer(kFooter);
    GatherOptions& gather = options.gather;
    app.add_option("--root", gather.root, "root of the node to look at, as a pod mounts it: /host")
        ->default_str("/");
    app.add_option(
        "--driver-root",
        gather.driver_root,
        "where the driver's files are, inside the root; default: found"
    );
    app.add_option("--nvml-library", gather.nvml_library, "soname or path of NVML")
        ->default_str(gather.nvml_library);
    app.add_option(
        "--kubeconfig",
        gather.kubeconfig,
        "default: the pod's, the agent's, the kubelet's, whichever is there"
    );
    app.add_option(
        "--node-name",
        gather.node_name,
        "default: $NODE_NAME, else as agent, kubelet or host have it"
    );
    app.add_flag("--no-api", no_api, "do not ask the API server");
    app.add_option("--output,--o", output, "text or json")->default_str(output);
    app.add_flag(
        "--verbose,--v", options.verbose, "also what is fine in detail, and what was not checked"
    );
    app.add_flag("--fix", options.fix, "repair what is safe to repair, then check again");
    app.add_flag("--yes", options.yes, "with --fix: do not ask");
    app.add_flag("--smoke", options.smoke, "last, run a container with one card and CUDA in it");
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    if (output != "text" && output != "json")
        return flags::bad_value("output", output, "text or json");
    options.as_json = output == "json";
    gather.ask_api = !no_api;
    EG_TRY_VOID(absolute("root", gather.root));
    while (gather.root.size() > 1 && gather.root.ends_with('/')) gather.root.pop_back();
    if (!gather.driver_root.empty()) EG_TRY_VOID(absolute("driver-root", gather.driver_root));
    if (options.yes && !options.fix) {
        return Error{ErrorCode::kInvalid, "--yes says yes to --fix, which is not there"};
    }
    return options;
}

}  // namespace egpu::doctor
