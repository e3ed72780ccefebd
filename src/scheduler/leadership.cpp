#include "scheduler/leadership.h"

#include "base/log.h"
#include "base/metrics.h"

namespace egpu::scheduler {
namespace {

constexpr Duration kBarrierTime = Seconds(60);
constexpr Duration kBarrierRetry = Millis(300);

metrics::Gauge leader_gauge() {
    return metrics::gauge("edge_gpu_scheduler_leader", "1 while this replica serves binds.");
}

}  // namespace

Leadership::Leadership(Sync& sync, k8s::Client client, k8s::LeaseOptions options)
    : sync_(sync),
      elector_(
          std::move(client),
          std::move(options),
          k8s::LeaseCallbacks{
              [this] {
                  const std::lock_guard lock(mutex_);
                  term_ = ++elections_;
                  changed_.notify_all();
              },
              [this] {
                  const std::lock_guard lock(mutex_);
                  term_ = 0;
                  caught_up_ = false;
                  leader_gauge().set(0);
                  log::warn("no longer the leader: binds are refused from now on");
              },
              [](const std::string& holder) {
                  log::info("leader", {{"holder", holder}});
              }}
      ) {}

Leadership::~Leadership() {
    stop();
}

Status Leadership::start() {
    EG_TRY_VOID(elector_.start());
    barrier_ = std::thread([this] { run_barriers(); });
    return ok_status();
}

void Leadership::stop() {
    stop_.request();
    elector_.stop();
    {
        const std::lock_guard lock(mutex_);
        changed_.notify_all();
    }
    if (barrier_.joinable()) barrier_.join();
}

bool Leadership::leading() const {
    return caught_up_.load() && elector_.is_leader();
}

void Leadership::run_barriers() {
    const StopToken stop = stop_.token();
    std::uint64_t done = 0;
    while (!stop.stopped()) {
        std::uint64_t term = 0;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return stop.stopped() || (term_ != 0 && term_ != done); });
            term = term_;
        }
        if (stop.stopped()) return;
        const TimePoint start = MonoClock::now();
        const Status read = sync_.read_pods_now(start + kBarrierTime, stop);
        if (!read) {
            log::warn("elected, but not serving binds yet", {{"error", read.error().message}});
            static_cast<void>(stop.wait_for(kBarrierRetry));
            continue;
        }
        const std::lock_guard lock(mutex_);
        if (term_ != term) continue;
        done = term;
        caught_up_ = true;
        leader_gauge().set(1);
        log::info(
            "leading",
            {{"ms", std::chrono::duration_cast<Millis>(MonoClock::now() - start).count()}}
        );
    }
}

}  // namespace egpu::scheduler
