// What the containers under the guard really use, by NVML, compared with what their ledgers claim:
// memory that nobody accounts for, time on the card, and who gets past the guard.
//
// Works on the thread of a gpu::UsageWatch, which the driver may hold up for ever; watch() and of()
// take a short lock only. Looks at the cards once a second while processes of limited containers
// are on them or something does not fit, every ten seconds else, and not at all without limited
// containers; four times a second for time while kernels run. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/record.h"
#include "base/clock.h"
#include "gpu/usage_watch.h"
#include "guard/compute/agent_control.h"
#include "isolation/bypass.h"
#include "isolation/guard_files.h"
#include "isolation/ledger_copy.h"
#include "isolation/measured_time.h"
#include "isolation/overhead.h"
#include "isolation/process_owner.h"
#include "isolation/quota.h"

namespace egpu::agent {

struct GuardWatchOptions {
    gpu::UsageWatchOptions nvml;
    bool end_bypassing = false;  // --on-bypass kill
    isolation::BypassRules rules;
    Duration memory_every = Seconds(1);
    Duration idle_every = Seconds(10);
    Duration samples_every = Millis(250);
    Duration stale_after = Seconds(20);  // then what was measured no longer counts
    std::filesystem::path proc = "/proc";
};

struct WatchedAllocation {
    Record record;
    isolation::Quota quota;
    bool used = false;  // somebody holds a slot of its ledger
};

struct CardMeasure {
    std::optional<std::uint64_t> bytes;     // in use; none: not told, or not measured yet
    std::optional<std::uint64_t> overhead;  // to be charged; none: leave what is
    std::optional<guard::Measured> busy;    // none where the driver does not tell
    TimePoint at{};                         // when the driver last listed its processes
};
struct ContainerMeasure {
    std::vector<CardMeasure> cards;  // as in the quota; empty: never measured
    int findings = 0;                // that hold now
};

class GuardWatch {
  public:
    // Something that the pod's owner should know; on the watch's thread. `reason` is an event's.
    using Tell =
        std::function<void(const Holder&, std::string_view reason, const std::string& message)>;

    GuardWatch(GuardWatchOptions options, const isolation::GuardFiles& files, Tell tell);
    ~GuardWatch();  // stop()
    GuardWatch(const GuardWatch&) = delete;
    GuardWatch& operator=(const GuardWatch&) = delete;

    void start();
    void stop();

    // All limited allocations, from now on.
    void watch(std::vector<WatchedAllocation> allocations);
    // Do kernels run that the guard charges?
    void set_computing(bool computing);
    // What is older than stale_after is left out; no overhead is charged then.
    ContainerMeasure of(const std::string& token) const;
    // How long the look that goes on has taken; long: the driver hangs.
    Duration busy_for() const { return usage_.busy_for(); }

  private:
    struct CardState {
        isolation::OverheadEstimate overhead;
        std::optional<std::uint64_t> bytes;
        // The quota, or what the container had already when it was lowered: nothing is taken back.
        std::uint64_t granted = 0;
        TimePoint listed{};  // when its processes were last told
        bool timed = false;
        double busy_ns = 0;
        std::uint64_t until_us = 0;  // CLOCK_REALTIME
        std::uint64_t until_ns = 0;  // the same instant, CLOCK_MONOTONIC, as it was told first
    };
    struct State {
        std::vector<CardState> cards;
        isolation::BypassJudge judge;
        Holder holder;
        int processes = 0;
        bool seen_guarded = false;  // a process of it had the guard's files
        int findings = 0;
    };

    void before();
    void seen(const std::vector<gpu::CardLook>& looks, bool memory);
    void take_memory(
        const std::vector<WatchedAllocation>& allocations, const std::vector<gpu::CardLook>& looks
    );
    void take_time(
        const std::vector<WatchedAllocation>& allocations, const std::vector<gpu::CardLook>& looks
    );
    void judge(const WatchedAllocation& allocation, State& state, const isolation::SeenContainer&);
    void act(const WatchedAllocation& allocation, const isolation::BypassFinding& finding);
    std::vector<WatchedAllocation> allocations() const;
    void publish();
    void tell_rhythm();

    const GuardWatchOptions options_;
    const isolation::GuardFiles& files_;
    const Tell tell_;

    // The watch's thread's own.
    isolation::ProcessOwners owners_;
    std::map<std::string, isolation::LedgerCopy> before_;
    std::map<std::string, State> states_;                   // by token
    std::map<std::string, isolation::MeasuredTime> times_;  // by card
    bool cannot_end_said_ = false;

    mutable std::mutex mutex_;  // guards what follows; held for copies only
    std::vector<WatchedAllocation> allocations_;
    std::map<std::string, ContainerMeasure> measures_;
    bool computing_ = false;
    bool active_ = false;  // processes of limited containers are there, or something does not fit

    gpu::UsageWatch usage_;  // last: its thread uses all of the above
};

}  // namespace egpu::agent
