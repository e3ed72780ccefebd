// Orderly shutdown: a flag that every poll() can wait on through a file descriptor.
#pragma once

#include <memory>

#include "base/clock.h"

namespace egpu {

// Copies refer to the same flag. Thread-safe.
class StopToken {
  public:
    bool stopped() const;
    // Readable once stopped, for poll(); never read from it.
    int fd() const;
    // Sleeps for `timeout`, or until stopped. True when stopped.
    bool wait_for(Duration timeout) const;

  private:
    friend class StopSource;
    struct State;
    explicit StopToken(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
};

class StopSource {
  public:
    StopSource();
    StopToken token() const { return token_; }
    // Idempotent; callable from any thread (not from a signal handler).
    void request();

  private:
    StopToken token_;
};

// Blocks SIGTERM, SIGINT and SIGQUIT in the calling thread and those it starts later, ignores
// SIGPIPE, and starts a thread that requests a stop when one of them arrives. Another one ends the
// process at once (exit status 130), but for those of the next second: `timeout` and some
// supervisors signal a process and then its whole group, and that is one wish, not two.
// Call once, first thing in an app's main function.
StopToken stop_on_signals();

}  // namespace egpu
