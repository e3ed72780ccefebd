// Gate: what this replica may do right now. Answers from the ledger need a complete first list;
// binds need that and leadership too; nothing new is taken on while shutting down. The reasons are
// texts for the extender's Error field and for /readyz. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"

namespace egpu::scheduler {

// Asked on every call; each must be quick and thread-safe. An empty function counts as "yes" (or
// as "", or as never).
struct GateProbes {
    std::function<bool()> synced;            // nodes and pods are listed completely
    std::function<std::string()> api_error;  // why the API server cannot be read, "" when it can
    std::function<bool()> leading;          // holds the lease and has read the last leader's writes
    std::function<std::string()> leader;    // who holds it
    std::function<TimePoint()> held_until;  // another may lead from then on
};

class Gate {
  public:
    // Until this is called nothing is open.
    void open(GateProbes probes);
    // For good: readiness off, no new binds.
    void shut_down() { stopping_.store(true); }
    bool stopping() const { return stopping_.load(); }

    // Why filter, priorities and preempt cannot be answered; nullopt when they can.
    std::optional<std::string> refuses_answers() const;
    // Why a bind cannot be made; nullopt when it can.
    std::optional<std::string> refuses_binds() const;
    // When a write that is begun now must be over: another may be the writer after that.
    TimePoint binds_until() const;
    // Why the API server cannot be read right now, "" when it can: answers are from memory then.
    std::string api_error() const;

  private:
    GateProbes probes() const;

    mutable std::mutex mutex_;
    std::optional<GateProbes> probes_;
    std::atomic<bool> stopping_{false};
};

}  // namespace egpu::scheduler
