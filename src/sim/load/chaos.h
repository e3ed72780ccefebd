// What goes wrong around the scheduler in a soak: bindings answered 409, 429, 500, 503 or not at
// all (carried out or not), reads that fail, watches that break, history that expires. A thread of
// its own, one fault every 50 to 400 ms.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/clock.h"
#include "base/random.h"
#include "testing/apiserver/api_server.h"

namespace egpu::sim::load {

class Chaos {
  public:
    Chaos(testing::ApiServer& api, std::uint64_t seed);
    ~Chaos();
    Chaos(const Chaos&) = delete;
    Chaos& operator=(const Chaos&) = delete;

    // Takes back what is still to come; how many faults there were.
    std::uint64_t stop();

  private:
    void work();
    void one_fault();

    testing::ApiServer& api_;
    Random random_;
    TimePoint next_read_fault_{};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> faults_{0};
    std::thread thread_;
};

}  // namespace egpu::sim::load
