#include "sim/demo_options.h"

#include <CLI/CLI.hpp>

#include "core/policy/scorer.h"
#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::sim {

Result<DemoOptions> parse_demo_options(const std::vector<std::string>& arguments) {
    DemoOptions out;
    CLI::App app(
        "The whole stack on this machine, without a GPU or a cluster: the real scheduler and "
        "agents\n"
        "against an embedded API server, three kubelets and simulated cards. Applies a set of "
        "pods,\n"
        "shows who is on which card, and takes more pods from kubectl until Ctrl-C.",
        "edge-gpu demo"
    );
    app.footer(
        "\nThe API is served over TLS, by a certificate that the openssl program makes; kubectl "
        "sends "
        "no\ncredentials without TLS. Exit status: 0 done; 1 something is not as it must be; 2 a "
        "wrong flag.\nNO_COLOR switches colours off; they are used on a terminal only.\n"
    );
    app.add_flag(
        "--once",
        out.once,
        "apply the pods, print the result and end; exit status 0 only if all is as it must be"
    );
    std::string port = "0";
    app.add_option("--port", port, "port of the API server on 127.0.0.1 (0: any free one)")
        ->default_str(port);
    app.add_flag(
        "--plain-http", out.plain_http, "serve the API without TLS: curl can use it, kubectl cannot"
    );
    app.add_option("--policy", out.policy, core::scorer_names())->default_str(out.policy);
    app.add_option(
           "--cache-mode",
           out.cache_mode,
           "what the extender is sent: names (of nodes; nodeCacheCapable) or nodes (whole)"
    )
        ->default_str(out.cache_mode);
    app.add_option("--log-dir", out.log_folder, "keep the logs of all processes in this folder");
    app.add_flag("--keep-dir", out.keep_folder, "do not remove the folder with sockets and state");
    app.add_option(
        "--sim-nvml",
        out.nvml_library,
        "the simulated libnvidia-ml.so.1 (default: ../lib/sim/ beside the program's folder)"
    );
    EG_TRY(out.help, flags::parse(app, arguments));
    if (!out.help.empty()) return out;
    const auto number = flags::to_number<int>(port);
    if (!number || *number < 0 || *number > 65535) {
        return flags::bad_value("port", port, "a number from 0 to 65535");
    }
    out.port = *number;
    if (core::find_scorer(out.policy) == nullptr) {
        return flags::bad_value("policy", out.policy, core::scorer_names());
    }
    if (out.cache_mode != "names" && out.cache_mode != "nodes") {
        return flags::bad_value("cache-mode", out.cache_mode, "names or nodes");
    }
    return out;
}

}  // namespace egpu::sim
