// A thread that looks at what processes use of cards, as often as it is told to.
//
// It has an NVML of its own, open only while there is something to look at. NVML may block for
// seconds or for ever on a sick card; nobody waits for this thread: want() and busy_for() take a
// short lock, stop() returns within a second even then. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "gpu/usage.h"

namespace egpu::gpu {

struct UsageWatchOptions {
    std::string library = "libnvidia-ml.so.1";  // soname or absolute path
    std::string driver_root = "/";              // searched for the library, see nvml.h
    Duration retry_first = Seconds(1);          // back-off of opening NVML
    Duration retry_most = Seconds(30);
    Duration close_between = Seconds(5);   // looks this far apart: NVML is closed meanwhile
    Duration stop_deadline = Millis(900);  // then a thread stuck inside the driver is left behind
};

struct UsageWanted {
    std::vector<std::string> cards;  // UUIDs; empty: sleep
    Duration memory_every = Seconds(10);
    Duration samples_every = Duration::zero();  // zero: only together with memory

    bool operator==(const UsageWanted&) const = default;
};

class UsageWatch {
  public:
    // Both run on the watch's thread, without locks; neither may call stop(). `before` right before
    // NVML is asked for processes and memory, `seen` after each look.
    struct Callbacks {
        std::function<void()> before;
        // With `memory` all lists were asked for.
        std::function<void(const std::vector<CardLook>&, bool memory)> seen;
    };

    UsageWatch(UsageWatchOptions options, Callbacks callbacks);
    ~UsageWatch();  // stop()
    UsageWatch(const UsageWatch&) = delete;
    UsageWatch& operator=(const UsageWatch&) = delete;

    void start();  // once
    void stop();   // idempotent; no callback runs after it returned

    // What to do from now on. A shorter period takes effect at once.
    void want(UsageWanted wanted);
    // How long the look that goes on (with its callbacks) has taken so far; zero when none does.
    Duration busy_for() const;

  private:
    struct Core;
    std::shared_ptr<Core> core_;
};

}  // namespace egpu::gpu
