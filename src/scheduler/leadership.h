// Leadership: the lease plus the barrier behind it. A new leader serves binds only after it has
// read all pods afresh, so that its predecessor's last writes are in the ledger. Without leader
// election this replica always leads. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/stop.h"
#include "k8s/lease.h"
#include "scheduler/sync.h"

namespace egpu::scheduler {

class Leadership {
  public:
    Leadership(Sync& sync, k8s::Client client, k8s::LeaseOptions options);
    ~Leadership();  // stop()
    Leadership(const Leadership&) = delete;
    Leadership& operator=(const Leadership&) = delete;

    Status start();
    void stop();  // gives the lease back

    // Holds the lease right now, and the barrier of this term is behind.
    bool leading() const;
    TimePoint held_until() const { return elector_.held_until(); }
    std::string leader() const { return elector_.holder(); }

  private:
    void run_barriers();

    Sync& sync_;
    StopSource stop_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t term_ = 0;  // 0: not elected; a new number for each election
    std::uint64_t elections_ = 0;
    std::atomic<bool> caught_up_{false};
    std::thread barrier_;
    k8s::LeaderElector elector_;
};

}  // namespace egpu::scheduler
