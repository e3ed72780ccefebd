// How long a card ran whose kernels, from NVML's samples of processes. Pure.
//
// Drivers answer in two forms: one sample a process, its average since the time asked from, with
// the time it was last seen active; or one for each of NVML's own periods (1/6 s, as the simulated
// driver). Which it is shows when a process has two in one answer. Whole percents either way.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"

namespace egpu::isolation {

struct TimeSample {
    unsigned pid = 0;
    std::uint64_t time_us = 0;  // CLOCK_REALTIME
    unsigned percent = 0;
};

class MeasuredTime {
  public:
    struct Busy {
        unsigned pid = 0;
        std::uint64_t until_us = 0;
        double busy_ns = 0;
    };
    // Samples newer than `after_us`, one entry each, by time.
    std::vector<Busy> add(std::vector<TimeSample> samples, std::uint64_t after_us);

  private:
    bool by_period_ = false;
};

}  // namespace egpu::isolation
