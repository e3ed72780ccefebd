#include "agent/app.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <malloc.h>

#include "agent/agent.h"
#include "agent/options.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/version.h"
#include "flags/command_line.h"

namespace egpu::agent {
namespace {

constexpr Duration kStarted = Seconds(2);
constexpr Duration kRetryConfig =
    Seconds(15);  // a kubeconfig that cannot be read may come with the next sync of its folder

}  // namespace

int run_agent(int argc, char** argv) {
    const auto parsed =
        parse_options(flags::without_program(argc, argv), flags::process_environment());
    if (!parsed) {
        std::fprintf(stderr, "edge-gpu agent: %s\n", parsed.error().message.c_str());
        return 2;
    }
    if (!parsed->text.empty()) {
        std::fputs(parsed->text.c_str(), stdout);
        return 0;
    }
    // A few threads that mostly sleep: one arena each would cost more than their contention. Before
    // any thread exists.
    ::mallopt(M_ARENA_MAX, 2);
    const Options& options = parsed->options;
    log::configure("agent", options.log_level, options.log_format);
    const StopToken stop = stop_on_signals();
    log::info("edge-gpu agent", {{"version", kVersion}, {"node", options.node_name}});
    for (const std::string& note : options.notes) log::warn(note);

    auto agent = Agent::start(options);
    if (!agent) {
        log::error("the agent cannot start", {{"error", agent.error().message}});
        return 1;
    }
    bool connected = (*agent)->connect_api();
    // What the start needed goes back to the node.
    if (!stop.wait_for(kStarted)) ::malloc_trim(0);
    while (!stop.wait_for(connected ? Duration(std::chrono::hours(24)) : kRetryConfig)) {
        if (!connected) connected = (*agent)->connect_api();
    }
    log::info("stopping; allocations stay as they are");
    (*agent)->stop();
    return 0;
}

}  // namespace egpu::agent
