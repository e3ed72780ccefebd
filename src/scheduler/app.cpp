#include "scheduler/app.h"

#include <cstdio>
#include <string>
#include <vector>

#include <malloc.h>

#include "base/log.h"
#include "base/stop.h"
#include "base/version.h"
#include "flags/command_line.h"
#include "k8s/kubeconfig.h"
#include "scheduler/options.h"
#include "scheduler/service.h"

namespace egpu::scheduler {
namespace {

constexpr int kHeaps = 4;

int complain(const Error& error, int status) {
    std::fprintf(stderr, "edge-gpu scheduler: %s\n", error.message.c_str());
    return status;
}

int serve(const Options& options, const StopToken& stop) {
    const auto config = options.kubeconfig.empty() ? k8s::default_config()
                                                   : k8s::load_kubeconfig(options.kubeconfig);
    if (!config) {
        return complain(
            options.kubeconfig.empty() ? config.error() : config.error().wrap("--kubeconfig"), 1
        );
    }
    auto service = Service::start(options, *config);
    if (!service) return complain(service.error(), 1);
    log::info(
        "serving",
        {{"version", kVersion},
         {"address", (*service)->address()},
         {"policy", options.policy},
         {"api", config->server},
         {"leader_elect", options.leader_elect}}
    );
    bool was_ready = false;
    while (!stop.wait_for(Millis(200))) {
        const bool ready = (*service)->ready();
        if (ready != was_ready) log::info(ready ? "ready" : "not ready");
        was_ready = ready;
    }
    log::info("stopping: readiness is off, requests in flight finish");
    (*service)->stop();
    log::info("stopped");
    return 0;
}

}  // namespace

int run_scheduler(int argc, char** argv) {
    // A thread for each connection, and a heap for each thread would keep what lists once needed.
    ::mallopt(M_ARENA_MAX, kHeaps);
    auto parsed = parse_options(flags::without_program(argc, argv), flags::process_environment());
    if (!parsed) return complain(parsed.error(), 2);
    if (!parsed->text.empty()) {
        std::fputs(parsed->text.c_str(), stdout);
        return 0;
    }
    const Options& options = parsed->options;
    log::configure("scheduler", options.log_level, options.log_format);
    for (const std::string& note : options.notes) log::info(note);
    return serve(options, stop_on_signals());
}

}  // namespace egpu::scheduler
