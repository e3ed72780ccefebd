// Exponential back-off with full jitter. Pure: the caller sleeps. Thread-compatible.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace egpu {

class Backoff {
  public:
    // Delays grow from `first` by a factor of two up to `most`; each is drawn from [delay/2,
    // delay].
    Backoff(Duration first, Duration most, std::uint64_t seed = 0);

    Duration next();
    void reset();

  private:
    Duration first_;
    Duration most_;
    Duration current_;
    std::uint64_t random_;
};

}  // namespace egpu
