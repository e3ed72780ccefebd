#include "simulate/app.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "base/files.h"
#include "flags/command_line.h"
#include "k8s/cluster_snapshot.h"
#include "simulate/from_snapshot.h"
#include "simulate/options.h"
#include "simulate/plot.h"
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

void say(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) {
        std::fprintf(stderr, "edge-gpu simulate: %s\n", note.c_str());
    }
}

Result<k8s::ClusterSnapshot> snapshot_in(const std::string& file, const std::string& text) {
    auto snapshot = k8s::decode_snapshot(text);
    if (!snapshot) return snapshot.error().wrap(file);
    return snapshot;
}

Result<Cluster> read_nodes(const std::string& file) {
    EG_TRY(const std::string text, read_file(file, kMostBytes));
    if (!looks_like_snapshot(text)) return parse_cluster(file, text);
    EG_TRY(const k8s::ClusterSnapshot snapshot, snapshot_in(file, text));
    std::vector<std::string> notes;
    auto cluster = cluster_of(file, snapshot, notes);
    say(notes);
    return cluster;
}

Result<Workload> read_pods(const std::string& file, const Cluster& cluster) {
    EG_TRY(const std::string text, read_file(file, kMostBytes));
    if (!looks_like_snapshot(text)) return parse_workload(file, text, cluster);
    EG_TRY(const k8s::ClusterSnapshot snapshot, snapshot_in(file, text));
    std::vector<std::string> notes;
    auto workload = workload_of(file, snapshot, cluster, notes);
    say(notes);
    return workload;
}

Result<std::vector<Workload>> read_workloads(const Options& options, const Cluster& cluster) {
    std::vector<Workload> out;
    for (const std::string& file : options.pods) {
        EG_TRY(Workload workload, read_pods(file, cluster));
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

// Before the runs, which may take long, not after them.
Status check_place_of_plot(const std::string& file) {
    const auto refuse = [&](const std::string& why) {
        return Error{ErrorCode::kInvalid, "--plot " + file + ": " + why};
    };
    std::error_code unknown;
    const std::filesystem::path path(file);
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    if (std::filesystem::is_directory(path, unknown) || !path.has_filename()) {
        return refuse("a folder; name a file in it");
    }
    if (!std::filesystem::is_directory(folder, unknown)) {
        return refuse("there is no folder " + folder.string());
    }
    if (::access(folder.c_str(), W_OK) != 0) {
        return refuse("the folder " + folder.string() + " cannot be written");
    }
    return ok_status();
}

Result<std::string> simulate(const Options& options) {
    if (!options.plot.empty()) EG_TRY_VOID(check_place_of_plot(options.plot));
    EG_TRY(const Cluster cluster, read_nodes(options.nodes));
    EG_TRY(const auto workloads, read_workloads(options, cluster));
    ProgressBar bar;
    EG_TRY(const auto results, run_all(cluster, workloads, options, [&](double done) {
               bar.show(done);
           }));
    if (!options.plot.empty()) {
        for (const auto& [file, svg] : plots(options.plot, results, options)) {
            EG_TRY_VOID(write_file_atomically(file, svg, 0644));
        }
    }
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
