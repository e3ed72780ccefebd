// What a run of the load generator measured, as a table row and as JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "sim/load/settings.h"

namespace egpu::sim::load {

// Of one kind of call, in milliseconds. Not thread-safe.
class Times {
  public:
    void add(Duration took);
    void add(const Times& other);
    double at(double quantile);  // 0..1; 0 when nothing was added
    std::size_t count() const { return samples_.size(); }

  private:
    std::vector<float> samples_;
    bool sorted_ = false;
};

struct MemoryPoint {
    double seconds = 0;
    double rss_mib = 0;
};

struct Report {
    double seconds = 0;
    std::uint64_t cycles = 0;
    std::uint64_t bound = 0;
    std::uint64_t unschedulable = 0;
    std::uint64_t given_up = 0;
    std::map<std::string, std::uint64_t> bind_errors;  // by their text without names
    Times filter;
    Times priorities;
    Times cycle;
    Times bind;
    Times whole;  // from a pod's arrival to its binding
    double scheduler_cpu_s = 0;
    double rss_mib = 0;
    double peak_mib = 0;
    std::vector<MemoryPoint> memory;
    std::vector<std::string> violations;  // empty when every promise was kept
    std::uint64_t faults = 0;
    std::uint64_t checks = 0;

    double pods_per_s() const { return seconds > 0 ? static_cast<double>(bound) / seconds : 0; }
    double cycles_per_s() const { return seconds > 0 ? static_cast<double>(cycles) / seconds : 0; }
    double cpu_ms_per_pod() const {
        return bound > 0 ? scheduler_cpu_s * 1000 / static_cast<double>(bound) : 0;
    }
};

// One line of a Markdown table, and its two first lines.
std::string table_head();
std::string table_row(const Settings& settings, Report& report);
json::value as_json(const Settings& settings, Report& report);

}  // namespace egpu::sim::load
