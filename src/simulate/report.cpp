#include "simulate/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/json.h"

namespace egpu::simulate {
namespace {

// Means over the seeds of one workload and policy, or over workloads.
struct Row {
    std::string workload;
    std::string policy;
    double runs = 0;
    double at_100 = 0, at_end = 0, seconds = 0;
    double lowest = 1e9, highest = -1e9;
    double card_hours = 0, mean = 0, waiting = 0, placed = 0;
    std::array<ClassCount, 4> classes{};

    void add(const RunResult& run) {
        runs += 1;
        at_100 += run.allocated_at_100;
        at_end += run.allocated_at_end;
        seconds += run.seconds;
        lowest = std::min(lowest, run.allocated_at_end);
        highest = std::max(highest, run.allocated_at_end);
        card_hours += run.card_hours;
        mean += run.allocated_mean;
        waiting += run.waiting_mean;
        placed += run.pods_placed;
        for (std::size_t i = 0; i < classes.size(); ++i) {
            const ClassCount& from = run.classes[i];
            classes[i].arrived += from.arrived;
            classes[i].placed += from.placed;
            classes[i].waiting += from.waiting;
            classes[i].wait_mean += from.wait_mean;
            classes[i].wait_p50 += from.wait_p50;
            classes[i].wait_p99 += from.wait_p99;
            classes[i].wait_max = std::max(classes[i].wait_max, from.wait_max);
        }
    }
};

std::vector<Row> rows_of(const std::vector<RunResult>& results) {
    std::vector<Row> rows;
    for (const RunResult& run : results) {
        const auto same = [&](const Row& row) {
            return row.workload == run.workload && row.policy == run.policy;
        };
        auto it = std::find_if(rows.begin(), rows.end(), same);
        if (it == rows.end()) {
            rows.push_back({});
            it = rows.end() - 1;
            it->workload = run.workload;
            it->policy = run.policy;
        }
        it->add(run);
    }
    return rows;
}

std::vector<Row> means_over_workloads(const std::vector<RunResult>& results) {
    std::vector<RunResult> renamed = results;
    for (RunResult& run : renamed) run.workload = "all (mean)";
    return rows_of(renamed);
}

std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string placed_pct(const ClassCount& count) {
    if (count.arrived == 0) return "-";
    return fixed(100.0 * static_cast<double>(count.placed) / static_cast<double>(count.arrived), 1);
}

std::string at_100(double value) {
    return value < 0 ? "-" : fixed(value, 2);
}

// Columns as wide as what is in them; all but the first two to the right.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
    std::vector<std::size_t> width(lines.front().size());
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
    }
    std::string out;
    for (const auto& line : lines) {
        std::string text;
        for (std::size_t i = 0; i < line.size(); ++i) {
            const std::string blanks(width[i] - line[i].size(), ' ');
            if (i > 0) text += "  ";
            text += i < 2 ? line[i] + blanks : blanks + line[i];
        }
        out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
    }
    return out;
}

std::vector<std::string> plain_line(const Row& row) {
    std::vector<std::string> line{
        row.workload,
        row.policy,
        at_100(row.at_100 / row.runs),
        fixed(row.at_end / row.runs, 2),
        fixed(row.lowest, 2),
        fixed(row.highest, 2)};
    for (const ClassCount& count : row.classes) line.push_back(placed_pct(count));
    line.push_back(fixed(row.seconds / row.runs, 2));
    return line;
}

// Waiting times in seconds: mean and worst, "-" when none of the kind was placed.
std::vector<std::string> departures_line(const Row& row) {
    std::vector<std::string> line{
        row.workload,
        row.policy,
        fixed(row.mean / row.runs, 2),
        fixed(row.card_hours / row.runs, 0),
        fixed(row.placed / row.runs, 0),
        fixed(row.waiting / row.runs, 0)};
    for (const ClassCount& count : row.classes) {
        line.push_back(count.arrived == 0 ? "-" : fixed(count.wait_mean / row.runs, 0));
        line.push_back(count.arrived == 0 ? "-" : fixed(count.wait_max, 0));
    }
    for (const ClassCount& count : row.classes) line.push_back(placed_pct(count));
    line.push_back(fixed(row.seconds / row.runs, 2));
    return line;
}

std::string end_percent(const Options& options) {
    return std::to_string(std::lround(options.run.inflate * 100));
}

json::value number(double value, int digits) {
    const double scale = std::pow(10.0, digits);
    return std::round(value * scale) / scale;
}

json::object causes_json(const core::Causes& causes) {
    return {
        {"usable", number(causes.usable, 3)},
        {"shape", number(causes.shape, 3)},
        {"model", number(causes.model, 3)},
        {"cpu", number(causes.cpu, 3)},
        {"memory", number(causes.memory, 3)}};
}

json::object class_json(const ClassCount& count, bool departures) {
    json::object out{{"arrived", count.arrived}, {"placed", count.placed}};
    if (!departures) return out;
    out["waiting"] = count.waiting;
    out["wait_mean_s"] = number(count.wait_mean, 1);
    out["wait_p50_s"] = number(count.wait_p50, 1);
    out["wait_p99_s"] = number(count.wait_p99, 1);
    out["wait_max_s"] = number(count.wait_max, 1);
    return out;
}

json::object run_json(const RunResult& run, const Options& options) {
    const bool departures = options.run.departures;
    json::object out{{"workload", run.workload}, {"policy", run.policy}, {"seed", run.seed}};
    if (!departures) {
        if (run.allocated_at_100 >= 0) {
            out["allocated_pct_at_100"] = number(run.allocated_at_100, 4);
        }
        out["allocated_pct_at_" + end_percent(options)] = number(run.allocated_at_end, 4);
    } else {
        out["allocated_pct_mean"] = number(run.allocated_mean, 4);
        out["allocated_card_hours"] = number(run.card_hours, 2);
        out["waiting_mean"] = number(run.waiting_mean, 2);
    }
    out["seconds"] = number(run.seconds, 3);
    json::object classes;
    for (std::size_t i = 0; i < run.classes.size(); ++i) {
        classes[kPodClassNames[i]] = class_json(run.classes[i], departures);
    }
    out["classes"] = std::move(classes);
    json::array curve;
    for (const Sample& sample : run.curve) {
        json::object point{
            {departures ? "time_pct" : "arrived_pct", number(sample.arrived_pct, 2)},
            {"allocated_pct", number(sample.allocated_pct, 3)}};
        if (departures) point["waiting"] = sample.waiting;
        if (sample.free_by_cause) point["free_pct"] = causes_json(*sample.free_by_cause);
        curve.push_back(std::move(point));
    }
    out["curve"] = std::move(curve);
    return out;
}

std::string quoted(const std::string& text) {
    if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + "\"";
}

}  // namespace

std::string table(const std::vector<RunResult>& results, const Options& options) {
    const bool departures = options.run.departures;
    std::vector<std::vector<std::string>> lines;
    if (departures) {
        lines.push_back(
            {"WORKLOAD",
             "POLICY",
             "MEAN%",
             "CARD-HOURS",
             "PLACED",
             "WAITING",
             "SHARE-WAIT",
             "MAX",
             "ONE-WAIT",
             "MAX",
             "SEVERAL-WAIT",
             "MAX",
             "CPU-WAIT",
             "MAX",
             "SHARE%",
             "ONE%",
             "SEVERAL%",
             "CPU%",
             "SECONDS"}
        );
    } else {
        lines.push_back(
            {"WORKLOAD",
             "POLICY",
             "AT-100%",
             "AT-" + end_percent(options) + "%",
             "MIN",
             "MAX",
             "SHARE%",
             "ONE%",
             "SEVERAL%",
             "CPU%",
             "SECONDS"}
        );
    }
    const auto line_of = departures ? departures_line : plain_line;
    const auto rows = rows_of(results);
    for (const Row& row : rows) lines.push_back(line_of(row));
    const auto means = means_over_workloads(results);
    if (rows.size() > means.size()) {
        for (const Row& row : means) lines.push_back(line_of(row));
    }
    return aligned(lines);
}

std::string json_text(const std::vector<RunResult>& results, const Options& options) {
    json::array runs;
    for (const RunResult& run : results) runs.push_back(run_json(run, options));
    return json::to_text(json::object{{"results", std::move(runs)}}) + "\n";
}

std::string csv_text(const std::vector<RunResult>& results, const Options& options) {
    const bool departures = options.run.departures;
    std::string out = "workload,policy,seed,";
    out += departures ? "allocated_pct_mean,allocated_card_hours,waiting_mean"
                      : "allocated_pct_at_100,allocated_pct_at_" + end_percent(options);
    out += ",seconds";
    for (const char* name : kPodClassNames) {
        out += std::string(",") + name + "_arrived," + name + "_placed";
        if (departures) out += std::string(",") + name + "_wait_mean_s," + name + "_wait_max_s";
    }
    out += "\n";
    for (const RunResult& run : results) {
        out += quoted(run.workload) + "," + run.policy + "," + std::to_string(run.seed) + ",";
        if (departures) {
            out += fixed(run.allocated_mean, 4) + "," + fixed(run.card_hours, 2) + "," +
                   fixed(run.waiting_mean, 2);
        } else {
            if (run.allocated_at_100 >= 0) out += fixed(run.allocated_at_100, 4);
            out += "," + fixed(run.allocated_at_end, 4);
        }
        out += "," + fixed(run.seconds, 3);
        for (const ClassCount& count : run.classes) {
            out += "," + std::to_string(count.arrived) + "," + std::to_string(count.placed);
            if (departures) out += "," + fixed(count.wait_mean, 1) + "," + fixed(count.wait_max, 1);
        }
        out += "\n";
    }
    return out;
}

}  // namespace egpu::simulate
