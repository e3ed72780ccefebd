#include "gpu/monitor.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/backoff.h"
#include "base/log.h"
#include "base/stop.h"
#include "gpu/driver_thread.h"
#include "gpu/nvml.h"
#include "gpu/session.h"

namespace egpu::gpu {

// Shared with the thread, which may outlive the Monitor when it is stuck inside the driver.
struct Monitor::Core {
    Core(MonitorOptions o, OnChange callback)
        : options(std::move(o)),
          on_change(std::move(callback)),
          board(options.health, options.xid_policy),
          known(options.known) {}

    void run();
    bool follow(Session& session);
    bool look(Session& session);
    void publish(Inventory next);
    void publish_verdicts();
    Inventory without_driver(std::string error) const;
    bool take_refresh();
    // The next full look is due after this.
    Duration pause() const { return board.unsettled() ? options.poll_unsettled : options.poll; }

    const MonitorOptions options;
    const OnChange on_change;
    StopSource stop;

    // The monitor thread's own.
    HealthBoard board;
    std::vector<CardInfo> known;
    std::string driver_version;
    bool was_open = false;
    int bad_looks = 0;  // in a row

    DriverThread thread;

    mutable std::mutex mutex;  // guards what follows; held for copies only
    mutable std::condition_variable changed;
    Inventory latest;
    bool published = false;
    bool stopped = false;
    bool refresh_wanted = false;
};

namespace {

void log_differences(const Inventory& before, const Inventory& now) {
    if (now.error != before.error) {
        if (now.error.empty()) {
            log::info("NVML is usable", {{"driver", now.driver_version}});
        } else {
            log::warn("NVML is not usable", {{"error", now.error}});
        }
    }
    for (const auto& warning : now.warnings) {
        const auto& old = before.warnings;
        if (std::find(old.begin(), old.end(), warning) == old.end()) log::warn(warning);
    }
    for (const auto& info : now.cards) {
        const auto old =
            std::find_if(before.cards.begin(), before.cards.end(), [&](const CardInfo& c) {
                return c.card.uuid == info.card.uuid;
            });
        const bool healthy_before = old == before.cards.end() || old->card.healthy;
        if (old == before.cards.end()) {
            log::info(
                "card found",
                {{"uuid", info.card.uuid},
                 {"index", info.card.index},
                 {"model", info.card.model},
                 {"memory_mib", info.card.memory_mib}}
            );
        }
        if (healthy_before && !info.card.healthy) {
            log::warn("card unhealthy", {{"uuid", info.card.uuid}, {"reason", info.reason}});
        } else if (!healthy_before && info.card.healthy) {
            log::info("card healthy again", {{"uuid", info.card.uuid}});
        }
    }
}

}  // namespace

void Monitor::Core::publish(Inventory next) {
    Inventory before;
    {
        const std::lock_guard lock(mutex);
        if (published && next == latest) return;
        before = std::exchange(latest, next);
    }
    log_differences(before, next);
    thread.tell([&] {
        if (on_change) on_change(next);
    });
    const std::lock_guard lock(mutex);
    published = true;
    changed.notify_all();
}

Inventory Monitor::Core::without_driver(std::string error) const {
    Inventory inventory;
    inventory.error = std::move(error);
    inventory.cards = known;
    for (auto& info : inventory.cards) {
        info.seen = false;
        info.card.healthy = false;
        info.reason = inventory.error;
    }
    return inventory;
}

// What an event said is published at once: the look at a sick GPU that follows may take seconds.
void Monitor::Core::publish_verdicts() {
    Inventory inventory;
    {
        const std::lock_guard lock(mutex);
        inventory = latest;
    }
    for (auto& info : inventory.cards) {
        const Verdict verdict = board.verdict(info.card.uuid);
        info.card.healthy = verdict.healthy;
        info.reason = verdict.reason;
    }
    publish(std::move(inventory));
}

bool Monitor::Core::take_refresh() {
    const std::lock_guard lock(mutex);
    return std::exchange(refresh_wanted, false);
}

// False when the driver is gone and NVML has to be opened anew.
bool Monitor::Core::look(Session& session) {
    auto seen = session.look(known);
    if (!seen) {
        // Once may be a hiccup that a new session cures; withdrawing all cards fails pods at
        // admission.
        if (++bad_looks > 1) publish(without_driver(seen.error().message));
        return false;
    }
    bad_looks = 0;
    board.set_events(session.has_events());
    board.on_round(seen->cards, seen->probes, MonoClock::now());
    Inventory inventory;
    inventory.driver_version = seen->driver_version;
    inventory.warnings = seen->warnings;
    inventory.cards = std::move(seen->cards);
    for (auto& info : inventory.cards) {
        const Verdict verdict = board.verdict(info.card.uuid);
        info.card.healthy = verdict.healthy;
        info.reason = verdict.reason;
    }
    known = inventory.cards;
    if (inventory.cards.empty() && inventory.warnings.empty()) {
        inventory.error = "driver " + inventory.driver_version + " lists no GPU";
    }
    const bool replaced = !driver_version.empty() && driver_version != inventory.driver_version;
    driver_version = inventory.driver_version;
    publish(std::move(inventory));
    return !replaced;
}

// Until the driver is gone or the stop; false when not even the first look succeeded.
bool Monitor::Core::follow(Session& session) {
    bool looked = false;
    TimePoint due = MonoClock::now();
    const StopToken token = stop.token();
    while (!token.stopped()) {
        if (MonoClock::now() >= due || take_refresh()) {
            if (!look(session)) return looked;
            looked = true;
            due = MonoClock::now() + pause();
        }
        const Duration left = due - MonoClock::now();
        const auto news =
            session.wait(std::clamp(left, Duration(Millis(1)), options.wait_slice), token, board);
        if (news == Session::News::kLookNow) {
            publish_verdicts();
            due = MonoClock::now();
        } else if (news == Session::News::kLookSoon) {
            due = std::min(due, MonoClock::now() + options.poll_unsettled);
        }
    }
    return looked;
}

void Monitor::Core::run() {
    const StopToken token = stop.token();
    Backoff backoff(options.retry_first, options.retry_most);
    Nvml nvml;
    while (!token.stopped()) {
        const Status opened = nvml.open(options.library, options.driver_root);
        if (!opened) {
            publish(without_driver(opened.error().message));
            const TimePoint again = MonoClock::now() + backoff.next();
            while (MonoClock::now() < again && !take_refresh()) {
                const Duration left = again - MonoClock::now();
                if (token.wait_for(std::min(left, options.wait_slice))) return;
            }
            continue;
        }
        driver_version.clear();
        if (std::exchange(was_open, true)) board.on_driver_reload();
        {
            Session session(nvml, options.enumerate);
            if (follow(session)) backoff.reset();
        }
        nvml.close();
        // A driver on its way out may still be opened: do not spin.
        if (token.wait_for(backoff.next())) return;
    }
}

Monitor::Monitor(MonitorOptions options, OnChange on_change)
    : core_(std::make_shared<Core>(std::move(options), std::move(on_change))) {}

Monitor::~Monitor() {
    stop();
}

void Monitor::start() {
    core_->thread.start([core = core_] { core->run(); });
}

void Monitor::stop() {
    core_->stop.request();
    {
        const std::lock_guard lock(core_->mutex);
        core_->stopped = true;
        core_->changed.notify_all();
    }
    core_->thread.stop(core_->options.stop_deadline);
}

Inventory Monitor::latest() const {
    const std::lock_guard lock(core_->mutex);
    return core_->latest;
}

bool Monitor::wait_for_cards(Duration timeout) const {
    std::unique_lock lock(core_->mutex);
    auto ready = [this] {
        return core_->published && core_->latest.error.empty() && !core_->latest.cards.empty();
    };
    core_->changed.wait_for(lock, timeout, [&] { return ready() || core_->stopped; });
    return ready() && !core_->stopped;
}

void Monitor::refresh() {
    const std::lock_guard lock(core_->mutex);
    core_->refresh_wanted = true;
}

}  // namespace egpu::gpu
