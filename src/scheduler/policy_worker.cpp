#include "scheduler/policy_worker.h"

namespace egpu::scheduler {
namespace {

constexpr Duration kLongestWait = Seconds(1);
constexpr Duration kPause = Millis(5);  // many pods may arrive at once
constexpr int kValues = 200;            // between two looks at the stop token: some 0.5 ms
constexpr std::size_t kNodes = 16;      // scored under one hold of the lock: some 0.2 ms
constexpr auto kGap = std::chrono::microseconds(50);  // for those who wait for the lock

}  // namespace

PolicyWorker::~PolicyWorker() {
    stop();
}

void PolicyWorker::start() {
    thread_ = std::thread([this] {
        const StopToken stop = stop_.token();
        while (!stop.stopped()) {
            state_.await_policy_work(kLongestWait);
            work_off(state_, stop);
            static_cast<void>(stop.wait_for(kPause));
        }
    });
}

void PolicyWorker::stop() {
    stop_.request();
    state_.wake_policy_work();
    if (thread_.joinable()) thread_.join();
}

void PolicyWorker::work_off(State& state, const StopToken& stop) {
    while (auto due = state.begin_refresh()) {
        while (!due->refresh->step(kValues)) {
            if (stop.stopped()) return;
        }
        state.end_refresh(std::move(*due));
    }
    while (!stop.stopped() && state.warm_up(kNodes)) std::this_thread::sleep_for(kGap);
}

}  // namespace egpu::scheduler
