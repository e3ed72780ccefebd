#include "simulate/app.h"

#include <cstdio>
#include <string>
#include <vector>

#include "base/files.h"
#include "flags/command_line.h"
#include "simulate/options.h"
#include "simulate/progress.h"
#include "simulate/report.h"
#include "simulate/runner.h"
#include "simulate/trace.h"

namespace egpu::simulate {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;

int complain(const Error& error, int status) {
    std::fprintf(stderr, "edge-gpu simulate: %s\n", error.message.c_str());
    return status;
}

Result<std::vector<Workload>> read_workloads(const Options& options, const Cluster& cluster) {
    std::vector<Workload> out;
    for (const std::string& file : options.pods) {
        EG_TRY(const std::string text, read_file(file, kMostBytes));
        EG_TRY(Workload workload, parse_workload(file, text, cluster));
        for (const Workload& other : out) {
            if (other.name != workload.name) continue;
            return Error{
                ErrorCode::kInvalid,
                file + ": another file of --pods is also called " + workload.name};
        }
        if (workload.rounded > 0) {
            std::fprintf(
                stderr,
                "edge-gpu simulate: %s: %zu shares are no whole percent of a card; taken as the "
                "next one\n",
                file.c_str(),
                workload.rounded
            );
        }
        out.push_back(std::move(workload));
    }
    return out;
}

Result<std::string> simulate(const Options& options) {
    EG_TRY(const std::string nodes, read_file(options.nodes, kMostBytes));
    EG_TRY(const Cluster cluster, parse_cluster(options.nodes, nodes));
    EG_TRY(const auto workloads, read_workloads(options, cluster));
    ProgressBar bar;
    EG_TRY(const auto results, run_all(cluster, workloads, options, [&](double done) {
               bar.show(done);
           }));
    switch (options.output) {
        case Output::kJson:
            return json_text(results, options);
        case Output::kCsv:
            return csv_text(results, options);
        case Output::kTable:
            break;
    }
    return table(results, options);
}

}  // namespace

int run_simulate(int argc, char** argv) {
    const auto options = parse_options(flags::without_program(argc, argv));
    if (!options) return complain(options.error(), 2);
    if (!options->help.empty()) {
        std::fputs(options->help.c_str(), stdout);
        return 0;
    }
    const auto text = simulate(*options);
    if (!text) return complain(text.error(), 1);
    std::fputs(text->c_str(), stdout);
    return 0;
}

}  // namespace egpu::simulate
