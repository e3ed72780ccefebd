// The ledger's lock, and for how long each kind of call holds it. Internal to State.
#pragma once

#include "base/metrics.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

inline metrics::Histogram lock_time(const char* call) {
    return metrics::histogram(
        "edge_gpu_scheduler_lock_seconds",
        "Time for which a call held the ledger's lock.",
        {1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1e-1},
        {{"call", call}}
    );
}

class State::Hold {
  public:
    Hold(std::mutex& mutex, metrics::Histogram& time) : lock_(mutex), time_(time) {}
    ~Hold() { time_.observe(std::chrono::duration<double>(MonoClock::now() - since_).count()); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

  private:
    std::lock_guard<std::mutex> lock_;
    metrics::Histogram& time_;
    TimePoint since_ = MonoClock::now();
};

}  // namespace egpu::scheduler
