// What one run of the simulator found. This is all that reports and plots are made of: the curve
// has a point per percent of arrivals (plots draw allocated_pct and free GPU by cause against
// arrived_pct, one line per policy); the totals are what tables show.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/policy/causes.h"
#include "core/room.h"

namespace egpu::simulate {

enum class PodClass : std::uint8_t { kShare, kOneCard, kSeveralCards, kCpuOnly };
inline constexpr std::array<const char*, 4> kPodClassNames{
    "share", "one_card", "several_cards", "cpu_only"};
PodClass class_of(const core::Shape& shape);

struct ClassCount {
    std::int64_t arrived = 0;
    std::int64_t placed = 0;
    // with departures, of those placed in the measured time; seconds
    double wait_mean = 0;
    double wait_p50 = 0;
    double wait_p99 = 0;
    double wait_max = 0;       // those that still wait included
    std::int64_t waiting = 0;  // at the end
};

// One point of a run.
struct Sample {
    double arrived_pct = 0;    // GPU asked for so far over GPU installed; with departures: of the
                               // time that is replayed
    double allocated_pct = 0;  // GPU allocated over GPU installed
    std::int64_t waiting = 0;  // pods, with departures
    // Every fifth point and the last: why the pods that usually arrive cannot use the free GPU, in
    // percent of GPU installed. Their sum is 100 - allocated_pct.
    std::optional<core::Causes> free_by_cause;
};

struct RunResult {
    std::string workload;
    std::string policy;
    std::uint64_t seed = 0;
    double allocated_at_100 = 0;  // percent; -1 when so much never arrived
    double allocated_at_end = 0;  // at --inflate
    double seconds = 0;           // CPU time of this run
    std::array<ClassCount, 4> classes{};
    std::vector<Sample> curve;
    // with departures, over the measured time
    double card_hours = 0;      // allocated
    double allocated_mean = 0;  // percent of GPU installed
    double waiting_mean = 0;    // pods
    double pods_placed = 0;
};

}  // namespace egpu::simulate
