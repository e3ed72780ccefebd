// PolicyWorker: does what the policies have to compute anew (expected demand, prices, scores of
// shapes that were asked for the first time) on a thread of its own, without the ledger's lock or
// in slices of it, so that no call of kube-scheduler ever waits for it.
#pragma once

#include <thread>

#include "base/stop.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

class PolicyWorker {
  public:
    explicit PolicyWorker(State& state) : state_(state) {}
    ~PolicyWorker();  // stop()
    PolicyWorker(const PolicyWorker&) = delete;
    PolicyWorker& operator=(const PolicyWorker&) = delete;

    void start();
    void stop();

    // All that is due now, on the calling thread; ends early when stopped.
    static void work_off(State& state, const StopToken& stop);

  private:
    State& state_;
    StopSource stop_;
    std::thread thread_;
};

}  // namespace egpu::scheduler
