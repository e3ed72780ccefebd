#include "simulate/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <CLI/CLI.hpp>

#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::simulate {
namespace {

using flags::bad_value;

constexpr std::size_t kMostSeeds = 10000;

struct RawFlags {
    std::string pods, policies = "fill-gradient", seeds = "42", inflate = "1.3";
    std::string arrivals = "shuffle", output = "table", longest = "1h", copies = "12", jobs = "0";
};

std::string footer() {
    std::string text =
        "\nColumns: nodes sn, cpu_milli, memory_mib, gpu, model; pods name, cpu_milli, memory_mib, "
        "num_gpu,\n"
        "gpu_milli, and where there are any gpu_spec, creation_time, deletion_time (Alibaba's "
        "GPU trace of 2023).\n"
        "The protocol and what to expect: docs/placement.md. Policies:\n";
    for (const core::Scorer& scorer : core::scorers()) {
        std::string name(scorer.name);
        name.resize(std::max<std::size_t>(name.size(), 16), ' ');
        text += "  " + name + std::string(scorer.description) + "\n";
    }
    return text + "  auto            fill-gradient\n";
}

void declare_flags(CLI::App& app, RawFlags& raw, Options& options) {
    app.add_option("--nodes", options.nodes, "CSV file of the nodes");
    app.add_option("--pods", raw.pods, "CSV file of the pods, or several, with commas between");
    app.add_option("--policy", raw.policies, "policy, or several, with commas between")
        ->default_str(raw.policies);
    app.add_option("--seeds", raw.seeds, "for example 42..51 or 1,2,3; each is one run")
        ->default_str(raw.seeds);
    app.add_option(
           "--inflate",
           raw.inflate,
           "pods arrive until they ask for so many times the GPU there is; with --departures the "
           "offered load"
    )
        ->default_str(raw.inflate);
    app.add_option("--arrivals", raw.arrivals, "shuffle, or trace: by creation time")
        ->default_str(raw.arrivals);
    app.add_flag(
        "--departures",
        options.run.departures,
        "pods leave after their lifetime, and wait where they do not fit"
    );
    app.add_option("--longest", raw.longest, "with --departures: lifetimes are cut to this")
        ->default_str(raw.longest);
    app.add_option("--copies", raw.copies, "with --departures: how often the pods arrive")
        ->default_str(raw.copies);
    app.add_option("--jobs", raw.jobs, "runs at a time; 0: as many as there are CPUs")
        ->default_str(raw.jobs);
    app.add_option("--output,--o", raw.output, "table, json or csv")->default_str(raw.output);
}

Status apply_policies(const RawFlags& raw, Options& options) {
    for (const std::string& name : flags::split_list(raw.policies)) {
        const core::Scorer* scorer = core::find_scorer(name);
        if (scorer == nullptr) return bad_value("policy", name, core::scorer_names());
        auto& known = options.policies;
        if (std::find(known.begin(), known.end(), scorer) == known.end()) known.push_back(scorer);
    }
    if (options.policies.empty()) {
        return bad_value("policy", raw.policies, core::scorer_names());
    }
    return ok_status();
}

Status apply_numbers(const RawFlags& raw, Options& options) {
    const auto inflate = flags::to_number<double>(raw.inflate);
    if (!inflate || !(*inflate >= 0.01 && *inflate <= 10)) {
        return bad_value("inflate", raw.inflate, "a number from 0.01 to 10");
    }
    options.run.inflate = *inflate;
    const auto copies = flags::to_number<int>(raw.copies);
    if (!copies || *copies < 1 || *copies > 1000) {
        return bad_value("copies", raw.copies, "a number from 1 to 1000");
    }
    options.run.copies = *copies;
    const auto jobs = flags::to_number<int>(raw.jobs);
    if (!jobs || *jobs < 0 || *jobs > 1024) {
        return bad_value("jobs", raw.jobs, "a number from 0 to 1024");
    }
    options.jobs = *jobs;
    EG_TRY(const Millis longest, flags::parse_duration("longest", raw.longest));
    options.run.longest = static_cast<double>(longest.count()) / 1000;
    return ok_status();
}

Status apply_words(const RawFlags& raw, Options& options) {
    if (raw.arrivals == "trace") {
        options.run.order = ArrivalOrder::kTrace;
    } else if (raw.arrivals != "shuffle") {
        return bad_value("arrivals", raw.arrivals, "shuffle or trace");
    }
    if (raw.output == "json") {
        options.output = Output::kJson;
    } else if (raw.output == "csv") {
        options.output = Output::kCsv;
    } else if (raw.output != "table") {
        return bad_value("output", raw.output, "table, json or csv");
    }
    return ok_status();
}

}  // namespace

Result<std::vector<std::uint64_t>> parse_seeds(const std::string& text) {
    std::vector<std::uint64_t> out;
    constexpr std::string_view kPossible = "numbers and ranges, for example 42..51 or 1,2,3";
    for (const std::string& part : flags::split_list(text)) {
        const std::size_t dots = part.find("..");
        const auto first = flags::to_number<std::uint32_t>(part.substr(0, dots));
        const auto last = dots == std::string::npos
                              ? first
                              : flags::to_number<std::uint32_t>(part.substr(dots + 2));
        if (!first || !last || *last < *first) return bad_value("seeds", text, kPossible);
        if (*last - *first >= kMostSeeds || out.size() > kMostSeeds) {
            return bad_value("seeds", text, "at most 10000 of them");
        }
        for (std::uint64_t seed = *first; seed <= *last; ++seed) {
            if (std::find(out.begin(), out.end(), seed) == out.end()) out.push_back(seed);
        }
    }
    if (out.empty()) return bad_value("seeds", text, kPossible);
    return out;
}

Result<Options> parse_options(const std::vector<std::string>& arguments) {
    Options options;
    RawFlags raw;
    CLI::App app{
        "Replays a cluster and the pods that arrive in virtual time, with the code that places "
        "pods live, and says how much of the GPU each policy allocates.",
        "edge-gpu simulate"};
    app.footer(footer());
    declare_flags(app, raw, options);
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    if (options.nodes.empty()) {
        return Error{ErrorCode::kInvalid, "--nodes is missing: the CSV file of the nodes"};
    }
    options.pods = flags::split_list(raw.pods);
    if (options.pods.empty()) {
        return Error{ErrorCode::kInvalid, "--pods is missing: the CSV file of the pods"};
    }
    EG_TRY_VOID(apply_policies(raw, options));
    EG_TRY(options.seeds, parse_seeds(raw.seeds));
    EG_TRY_VOID(apply_numbers(raw, options));
    EG_TRY_VOID(apply_words(raw, options));
    for (const char* flag : {"--longest", "--copies"}) {
        if (!options.run.departures && app.count(flag) > 0) {
            return Error{
                ErrorCode::kInvalid, std::string(flag) + " has no meaning without --departures"};
        }
    }
    return options;
}

}  // namespace egpu::simulate
