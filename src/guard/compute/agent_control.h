// The agent's part of compute control on one card: from what the containers' ledgers and NVML say
// to what it writes into their `limits`.
//
// Pure: time and numbers are passed in. Call tick() about every 100 ms. Ledgers are not trusted: a
// container that lies about its charges changes what is lent, and how its neighbours judge their
// own spans until NVML's measurements, which it cannot change, put that right. Not thread-safe.
// Runs in the agent only; it is not linked into the guard.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "guard/compute/policy.h"

namespace egpu::guard {

// Counters only grow; one that went back counts as a restart.
struct ProcessSample {
    std::uint64_t id = 0;  // unique on the card while the process lives
    std::uint64_t charged_ns = 0;
    std::uint64_t span_ns = 0;
    std::uint64_t span_cost_ns = 0;
};

// What NVML says: total time the card ran the container's kernels, up to the time stamp of the last
// of NVML's own samples (about six a second, in whole percents).
struct Measured {
    double busy_ns = 0;
    std::uint64_t at_ns = 0;
};

struct ContainerSample {
    std::uint64_t id = 0;
    ComputeMode mode = ComputeMode::kOff;
    std::uint32_t share_ppm = kWholePpm;
    bool guaranteed = false;         // best-effort neighbours are gated while it has demand
    bool best_effort = false;        // is gated
    std::uint64_t demand_ns = 0;     // when it last charged or was held back
    std::uint64_t throttled_ns = 0;  // total over its processes
    std::vector<ProcessSample> processes;
    std::uint64_t largest_ns = 0;      // longest kernel of late (ComputeBucket)
    std::optional<Measured> measured;  // none where the card does not report it
};

struct ContainerControl {
    std::uint64_t id = 0;
    std::uint32_t rate_ppm = 0;
    std::uint32_t gain_ppm = 0;
    std::uint32_t contention_ppm = 0;
    std::uint32_t neighbours = 0;
    bool gated = false;
};

class AgentControl {
  public:
    // One answer per container, in the order given. Containers and processes that are not in the
    // samples are forgotten.
    std::vector<ContainerControl> tick(
        std::uint64_t now_ns, const std::vector<ContainerSample>& containers
    );

  private:
    struct Process {
        ProcessSample last;
        double charge_rate = 0;  // of the card, smoothed
        double stretch = 1;      // span over cost, smoothed
        std::uint32_t ticks = 0;
        bool seen = false;
    };
    struct Container {
        double charge_rate = 0;  // smoothed, of the card
        double quick_rate = 0;   // of the last tick
        std::uint64_t throttled_ns = 0;
        bool throttled = false;
        // Running totals at the last tick, and at the last measurements: what was charged, how long
        // the container was active by its spans, what NVML measured.
        struct Totals {
            std::uint64_t at_ns = 0;
            double charged_ns = 0;
            double active_ns = 0;
            double measured_ns = 0;
        };
        Totals tick;
        std::vector<Totals> measurements;  // oldest first
        std::uint64_t compare_from_ns = 0;
        Measured last_measured;
        double measured_rate = 0;  // of the card, between NVML's last two samples
        double gain = 1;
        double part_low = 0;  // bounds of the measured part of its active time
        double part_high = 1;
        bool seen = false;
    };

    void take(Container& state, const ContainerSample& sample, std::uint64_t now_ns, double dt_ns);
    void trim(Container& state, const ContainerSample& sample, const Container::Totals& before);

    std::uint64_t last_tick_ns_ = 0;
    std::uint64_t ticks_ = 0;
    std::map<std::uint64_t, Container> containers_;
    std::map<std::uint64_t, Process> processes_;
};

// Splits `capacity` (1 = the card) by weight among those that want it, nobody getting more than it
// wants: the part each gets. `wants` and `weights` are of equal length.
std::vector<double> weighted_split(
    double capacity, const std::vector<double>& wants, const std::vector<double>& weights
);

// The part of its active time a process has the card, when others are active a part `active` of the
// time and the card goes round among those with work.
double part_of_active_time(const std::vector<double>& others_active);

}  // namespace egpu::guard
