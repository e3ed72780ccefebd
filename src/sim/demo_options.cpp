#include "sim/demo_options.h"

#include <CLI/CLI.hpp>

namespace egpu::sim {

Result<DemoOptions> parse_demo_options(int argc, char** argv) {
    DemoOptions out;
    try {
        CLI::App app(
            "The whole stack on this machine, without a GPU or a cluster: the real scheduler and "
            "agents\n"
            "against an embedded API server, three kubelets and simulated cards. Applies a set of "
            "pods,\n"
            "shows who is on which card, and takes more pods from kubectl until Ctrl-C.",
            "edge-gpu demo"
        );
        app.add_flag(
            "--once",
            out.once,
            "apply the pods, print the result and end; exit status 0 only if all is as it must be"
        );
        app.add_option("--port", out.port, "port of the API server on 127.0.0.1 (0: any free one)")
            ->check(CLI::Range(0, 65535));
        app.add_flag("--tls", out.tls, "serve the API over TLS (needs the openssl program)");
        app.add_option("--policy", out.policy, "placement policy of the scheduler");
        app.add_option(
               "--cache-mode",
               out.cache_mode,
               "what the extender is sent: node names (nodeCacheCapable) or whole nodes"
        )
            ->check(CLI::IsMember({"names", "nodes"}));
        app.add_option(
            "--log-dir", out.log_folder, "keep the logs of all processes in this folder"
        );
        app.add_flag(
            "--keep-dir", out.keep_folder, "do not remove the folder with sockets and state"
        );
        app.add_option(
            "--sim-nvml",
            out.nvml_library,
            "the simulated libnvidia-ml.so.1 (default: ../lib/sim/ beside the program's folder)"
        );
        try {
            app.parse(argc, argv);
        } catch (const CLI::CallForHelp&) {
            out.help = app.help();
        } catch (const CLI::ParseError& error) {
            return Error{ErrorCode::kInvalid, error.what()};
        }
    } catch (const std::exception& error) {
        return Error{ErrorCode::kInternal, error.what()};
    }
    return out;
}

}  // namespace egpu::sim
