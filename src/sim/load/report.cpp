#include "sim/load/report.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace egpu::sim::load {

namespace {

constexpr std::array<std::pair<const char*, double>, 3> kQuantiles{
    {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}}};

std::string three(Times& times) {
    std::array<char, 64> text{};
    std::snprintf(
        text.data(),
        text.size(),
        "%.2f / %.2f / %.2f",
        times.at(0.5),
        times.at(0.99),
        times.at(0.999)
    );
    return text.data();
}

json::object quantiles(Times& times) {
    json::object out;
    for (const auto& [name, quantile] : kQuantiles) out[name] = times.at(quantile);
    out["count"] = times.count();
    return out;
}

double milliseconds(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void Times::add(Duration took) {
    samples_.push_back(static_cast<float>(milliseconds(took)));
    sorted_ = false;
}

void Times::add(const Times& other) {
    samples_.insert(samples_.end(), other.samples_.begin(), other.samples_.end());
    sorted_ = false;
}

double Times::at(double quantile) {
    if (samples_.empty()) return 0;
    if (!sorted_) std::sort(samples_.begin(), samples_.end());
    sorted_ = true;
    const auto last = static_cast<double>(samples_.size() - 1);
    return static_cast<double>(samples_[static_cast<std::size_t>(quantile * last + 0.5)]);
}

std::string table_head() {
    return "| nodes | body | API ms | policy | pods/s | filter ms | priorities ms | bind ms | "
           "arrival to bound ms | CPU ms/pod | RSS MiB |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
}

std::string table_row(const Settings& settings, Report& report) {
    std::array<char, 512> text{};
    std::snprintf(
        text.data(),
        text.size(),
        "| %d | %s | %.0f | %s | %.0f | %s | %s | %s | %s | %.2f | %.0f |\n",
        settings.nodes,
        settings.names ? "names" : "nodes",
        milliseconds(settings.api_latency),
        settings.policy.c_str(),
        report.pods_per_s(),
        three(report.filter).c_str(),
        three(report.priorities).c_str(),
        three(report.bind).c_str(),
        three(report.whole).c_str(),
        report.cpu_ms_per_pod(),
        report.rss_mib
    );
    return text.data();
}

json::value as_json(const Settings& settings, Report& report) {
    json::object errors;
    for (const auto& [text, count] : report.bind_errors) errors[text] = count;
    json::array memory;
    for (const MemoryPoint& point : report.memory) {
        memory.push_back(json::object{{"seconds", point.seconds}, {"rss_mib", point.rss_mib}});
    }
    json::array violations;
    for (const std::string& text : report.violations) violations.emplace_back(text);
    return {
        {"nodes", settings.nodes},
        {"cards", settings.cards},
        {"node_cache_capable", settings.names},
        {"api_latency_ms", milliseconds(settings.api_latency)},
        {"policy", settings.policy},
        {"rate", settings.rate},
        {"seed", settings.seed},
        {"seconds", report.seconds},
        {"pods_per_s", report.pods_per_s()},
        {"cycles_per_s", report.cycles_per_s()},
        {"bound", report.bound},
        {"unschedulable", report.unschedulable},
        {"given_up", report.given_up},
        {"bind_errors", std::move(errors)},
        {"filter_ms", quantiles(report.filter)},
        {"priorities_ms", quantiles(report.priorities)},
        {"cycle_ms", quantiles(report.cycle)},
        {"bind_ms", quantiles(report.bind)},
        {"arrival_to_bound_ms", quantiles(report.whole)},
        {"scheduler_cpu_ms_per_pod", report.cpu_ms_per_pod()},
        {"scheduler_rss_mib", report.rss_mib},
        {"scheduler_peak_mib", report.peak_mib},
        {"memory", std::move(memory)},
        {"faults", report.faults},
        {"checks", report.checks},
        {"violations", std::move(violations)}};
}

}  // namespace egpu::sim::load
