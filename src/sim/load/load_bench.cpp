// The load generator: how many pods a second a real `edge-gpu scheduler` process places, how long
// its calls take and what they cost, at the sizes and API latencies of a table; and the soak. See
// run.h. Exit status 1 when a promise was broken.
#include <cmath>
#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "flags/command_line.h"
#include "flags/values.h"
#include "sim/load/run.h"
#include "sim/process.h"

namespace egpu::sim::load {
namespace {

struct Flags {
    std::vector<int> nodes{1000};
    std::vector<int> latencies{0};
    std::vector<std::string> policies{"binpack"};
    std::vector<std::string> bodies{"names"};
    std::string duration = "10s";
    std::string warm_up = "2s";
    std::string soak;
    std::string json_file;
    std::string executable;
};

Result<std::string> parse(int argc, char** argv, Flags& flags, Settings& settings) {
    CLI::App app(
        "Drives a real edge-gpu scheduler as kube-scheduler does and measures it. Lists are tried "
        "in\n"
        "all combinations, one row each.",
        "load_bench"
    );
    app.add_option("--nodes", flags.nodes, "numbers of nodes, for example 100,1000,5000")
        ->delimiter(',');
    app.add_option("--cards", settings.cards, "cards of a node")->check(CLI::Range(1, 16));
    app.add_option("--api-latency", flags.latencies, "milliseconds the API server waits, a list")
        ->delimiter(',');
    app.add_option("--policy", flags.policies, "policies of the scheduler, a list")->delimiter(',');
    app.add_option("--body", flags.bodies, "names (nodeCacheCapable) or nodes, a list")
        ->delimiter(',')
        ->check(CLI::IsMember({"names", "nodes"}));
    app.add_option("--rate", settings.rate, "pods that arrive in a second; 0: always some waiting");
    app.add_option("--waiting", settings.waiting, "with --rate 0: how many")
        ->check(CLI::Range(1, 10000));
    app.add_option("--binds", settings.binds, "binds in flight at most")->check(CLI::Range(1, 250));
    app.add_option("--fill", settings.fill, "percent of the cards at which pods begin to leave")
        ->check(CLI::Range(1, 95));
    app.add_option("--duration", flags.duration, "of each row, after the warm-up");
    app.add_option("--warm-up", flags.warm_up, "before it");
    app.add_option("--seed", settings.seed, "of pods, order of nodes and faults");
    app.add_option("--soak", flags.soak, "instead: this long with faults injected and checked");
    app.add_option("--json", flags.json_file, "write the results to this file, too");
    app.add_option("--executable", flags.executable, "edge-gpu; default: beside this program");
    const std::vector<std::string> arguments = flags::without_program(argc, argv);
    return flags::parse(app, arguments);
}

Status fill_in(const Flags& flags, Settings& settings) {
    EG_TRY(settings.duration, flags::parse_duration("duration", flags.duration));
    EG_TRY(settings.warm_up, flags::parse_duration("warm-up", flags.warm_up));
    if (!flags.soak.empty()) {
        EG_TRY(settings.duration, flags::parse_duration("soak", flags.soak));
        settings.chaos = true;
        settings.report_every = std::clamp(settings.duration / 30, Millis(2000), Millis(60'000));
        if (settings.rate == 0) settings.rate = 100;
    }
    settings.executable = flags.executable;
    if (flags.executable.empty()) {
        EG_TRY(const auto self, self_executable());
        settings.executable = self.parent_path() / "edge-gpu";
    }
    return ok_status();
}

// The second half of a soak may not be much bigger than its middle.
void judge_memory(Report& report) {
    if (report.memory.size() < 10) return;
    const double middle = report.memory[report.memory.size() / 2].rss_mib;
    const double last = report.memory.back().rss_mib;
    if (last > middle * 1.1 + 4) {
        report.violations.push_back(
            "memory grew from " + std::to_string(middle) + " to " + std::to_string(last) + " MiB"
        );
    }
}

int show(const Settings& settings, Report& report) {
    if (settings.chaos) {
        judge_memory(report);
        std::printf(
            "%llu pods bound, %llu faults, %llu checks\n",
            static_cast<unsigned long long>(report.bound),
            static_cast<unsigned long long>(report.faults),
            static_cast<unsigned long long>(report.checks)
        );
        for (const auto& [text, count] : report.bind_errors) {
            std::printf("  %6llu x %s\n", static_cast<unsigned long long>(count), text.c_str());
        }
    }
    for (const std::string& text : report.violations) std::printf("BROKEN: %s\n", text.c_str());
    return report.violations.empty() ? 0 : 1;
}

int complain(const Error& error) {
    std::fprintf(stderr, "load_bench: %s\n", error.message.c_str());
    return 2;
}

int run_all(Flags flags, Settings settings, const StopToken& stop) {
    json::array results;
    int status = 0;
    if (!settings.chaos) std::fputs(table_head().c_str(), stdout);
    for (const int nodes : flags.nodes) {
        for (const std::string& body : flags.bodies) {
            for (const int latency : flags.latencies) {
                for (const std::string& policy : flags.policies) {
                    if (stop.stopped()) return 130;
                    settings.nodes = nodes;
                    settings.names = body == "names";
                    settings.api_latency = Millis(latency);
                    settings.policy = policy;
                    std::string folder =
                        (std::filesystem::temp_directory_path() / "egpu-load-XXXXXX").string();
                    if (mkdtemp(folder.data()) == nullptr) {
                        return complain(errno_error("make a folder in " + folder, errno));
                    }
                    settings.folder = folder;
                    auto report = run(settings, stop);
                    const bool keep = report && !report->violations.empty();
                    if (keep) std::printf("the scheduler's log is in %s\n", folder.c_str());
                    if (!keep) std::filesystem::remove_all(folder);
                    if (!report) return complain(report.error());
                    if (settings.chaos) std::fputs(table_head().c_str(), stdout);
                    std::fputs(table_row(settings, *report).c_str(), stdout);
                    status |= show(settings, *report);
                    std::fflush(stdout);
                    results.push_back(as_json(settings, *report));
                }
            }
        }
    }
    if (flags.json_file.empty()) return status;
    const json::value all = json::object{{"results", std::move(results)}};
    const auto written = write_file_atomically(flags.json_file, json::to_text(all) + "\n");
    return written ? status : complain(written.error());
}

int start(int argc, char** argv) {
    log::configure("load_bench", log::Level::kError, log::Format::kLogfmt);
    Flags flags;
    Settings settings;
    const auto help = parse(argc, argv, flags, settings);
    if (!help) return complain(help.error());
    if (!help->empty()) {
        std::fputs(help->c_str(), stdout);
        return 0;
    }
    if (const Status filled = fill_in(flags, settings); !filled) return complain(filled.error());
    return run_all(std::move(flags), std::move(settings), stop_on_signals());
}

}  // namespace
}  // namespace egpu::sim::load

int main(int argc, char** argv) {
    return egpu::sim::load::start(argc, argv);
}
