// A thread that calls the driver, which on a sick card may keep it for seconds or for ever.
//
// Nobody else is kept: stop() leaves a thread behind that does not end in time. The object belongs
// into what the body keeps alive, since a thread left behind goes on using it. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace egpu::gpu {

class DriverThread {
  public:
    DriverThread() = default;
    DriverThread(const DriverThread&) = delete;
    DriverThread& operator=(const DriverThread&) = delete;

    // Once. `body` holds a reference to whatever owns this object.
    void start(std::function<void()> body);
    // From the body: runs `callback` unless stop() was called, which waits for its end.
    void tell(const std::function<void()>& callback);
    // When the body has been told to end: waits for that, at most `deadline` (and for a running
    // callback). No callback runs after it returned. Idempotent; never from a callback.
    void stop(Duration deadline);

  private:
    std::mutex callback_mutex_;  // held while a callback runs
    bool closed_ = false;

    std::mutex mutex_;  // guards what follows
    std::condition_variable changed_;
    std::thread thread_;
    bool started_ = false;
    bool finished_ = false;
};

}  // namespace egpu::gpu
