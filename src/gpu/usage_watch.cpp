#include "gpu/usage_watch.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "gpu/driver_thread.h"

namespace egpu::gpu {

// Shared with the thread, which may outlive the UsageWatch when it is stuck inside the driver.
struct UsageWatch::Core {
    Core(UsageWatchOptions o, Callbacks c)
        : options(std::move(o)),
          callbacks(std::move(c)),
          backoff(options.retry_first, options.retry_most) {}

    void run();
    void wait_until_due();
    bool ensure_open();
    void look(const UsageWanted& now_wanted, bool memory);

    const UsageWatchOptions options;
    const Callbacks callbacks;

    // The thread's own.
    Nvml nvml;
    std::optional<UsageReader> reader;
    Backoff backoff;
    std::string last_error;
    TimePoint closed_until{};
    TimePoint last_memory{};
    TimePoint last_look{};

    DriverThread thread;

    mutable std::mutex mutex;  // guards what follows; held for copies only
    std::condition_variable changed;
    UsageWanted wanted;
    TimePoint busy_since{};
    bool stopping = false;
};

// Until a look is due, or the stop.
void UsageWatch::Core::wait_until_due() {
    std::unique_lock lock(mutex);
    while (!stopping) {
        if (wanted.cards.empty()) {
            if (nvml.is_open()) return;  // to close it
            changed.wait(lock);
            continue;
        }
        TimePoint due = last_memory + wanted.memory_every;
        if (wanted.samples_every > Duration::zero()) {
            due = std::min(due, last_look + wanted.samples_every);
        }
        due = std::max(due, closed_until);
        if (MonoClock::now() >= due) return;
        changed.wait_until(lock, due);
    }
}

bool UsageWatch::Core::ensure_open() {
    if (nvml.is_open()) return true;
    const Status opened = nvml.open(options.library, options.driver_root);
    const std::string error = opened ? "" : opened.error().message;
    // The monitor of cards says more about why.
    if (error != last_error && !error.empty()) {
        log::debug("use of the cards cannot be measured", {{"error", error}});
    }
    last_error = error;
    if (!opened) {
        closed_until = MonoClock::now() + backoff.next();
        return false;
    }
    backoff.reset();
    reader.emplace(nvml);
    return true;
}

void UsageWatch::Core::look(const UsageWanted& now_wanted, bool memory) {
    {
        const std::lock_guard lock(mutex);
        busy_since = MonoClock::now();
    }
    Result<std::vector<CardLook>> looks = std::vector<CardLook>{};
    if (ensure_open()) {
        if (memory) thread.tell(callbacks.before);
        looks = reader->look(now_wanted.cards, memory);
        if (!looks || now_wanted.memory_every >= options.close_between) {
            reader.reset();
            nvml.close();
            if (!looks) closed_until = MonoClock::now() + backoff.next();
        }
    } else {
        looks = Error{ErrorCode::kUnavailable, last_error};
    }
    last_look = MonoClock::now();
    if (memory) last_memory = last_look;
    if (looks) thread.tell([&] { callbacks.seen(*looks, memory); });
    const std::lock_guard lock(mutex);
    busy_since = {};
}

void UsageWatch::Core::run() {
    while (true) {
        wait_until_due();
        UsageWanted now_wanted;
        {
            const std::lock_guard lock(mutex);
            if (stopping) break;
            now_wanted = wanted;
        }
        if (now_wanted.cards.empty()) {
            reader.reset();
            nvml.close();
            continue;
        }
        look(now_wanted, MonoClock::now() >= last_memory + now_wanted.memory_every);
    }
    reader.reset();
    nvml.close();
}

UsageWatch::UsageWatch(UsageWatchOptions options, Callbacks callbacks)
    : core_(std::make_shared<Core>(std::move(options), std::move(callbacks))) {}

UsageWatch::~UsageWatch() {
    stop();
}

void UsageWatch::start() {
    core_->thread.start([core = core_] { core->run(); });
}

void UsageWatch::stop() {
    {
        const std::lock_guard lock(core_->mutex);
        core_->stopping = true;
        core_->changed.notify_all();
    }
    core_->thread.stop(core_->options.stop_deadline);
}

void UsageWatch::want(UsageWanted wanted) {
    const std::lock_guard lock(core_->mutex);
    if (core_->wanted == wanted) return;
    core_->wanted = std::move(wanted);
    core_->changed.notify_all();
}

Duration UsageWatch::busy_for() const {
    const std::lock_guard lock(core_->mutex);
    if (core_->busy_since == TimePoint{}) return Duration::zero();
    return MonoClock::now() - core_->busy_since;
}

}  // namespace egpu::gpu
