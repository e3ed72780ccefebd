// The guard's side of this node (docs/guard.md): which allocations it limits, to what, and what
// their containers use.
//
// Containers with a share through nano-gpu/gpu-percent are limited. Their quota follows the record
// and, live, the pod's annotations edge-gpu.io/memory, edge-gpu.io/compute and
// edge-gpu.io/priority; a cap that the card has no room for beside its other holders is not taken
// over. What is not known (pods, while the API server is away) stays as it was written. One thread:
// woken by pods and records, once a second while something is limited (heartbeat, metrics), ten
// times a second while kernels run. Thread-safe.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/allocator.h"
#include "agent/guard_metrics.h"
#include "agent/guard_watch.h"
#include "agent/pods_view.h"
#include "base/clock.h"
#include "base/result.h"
#include "guard/compute/agent_control.h"
#include "inject/edits.h"
#include "isolation/guard_files.h"
#include "isolation/limits_file.h"
#include "isolation/quota.h"

namespace egpu::agent {

struct GuardOptions {
    std::filesystem::path folder;   // of the guard's files, the same here and on the host
    std::filesystem::path library;  // libedge-gpu-guard.so as it came with the agent
    Duration tick = Seconds(1);
    Duration control = Millis(100);  // while kernels run
    // How to measure; without it the guard goes by what ledgers say.
    std::optional<GuardWatchOptions> watch = std::nullopt;
    Duration hangs_after = Seconds(5);  // a driver that does not answer for so long is reported
    // A folder that no record has ever known is removed after this long: after a lost state file
    // the records come back from the kubelet's books first.
    Duration forget_after = std::chrono::minutes(5);
    // … and so the time only counts while this says that those books were read; empty: always.
    std::function<bool()> may_forget = {};
};

class GuardKeeper {
  public:
    // `tell`: of what measuring shows, see GuardWatch.
    GuardKeeper(
        GuardOptions options, Allocator& allocator, PodsView& pods, GuardWatch::Tell tell = {}
    );
    ~GuardKeeper();  // stop()
    GuardKeeper(const GuardKeeper&) = delete;
    GuardKeeper& operator=(const GuardKeeper&) = delete;

    // The files that all containers share. The error: containers cannot be limited.
    Status install();

    static bool limits(const Record& record);
    // The mounts of a container with this record; false: it is not limited. No I/O.
    bool add_mounts(const Record& record, inject::ContainerEdits& edits) const;
    // Before a container starts: its files are there and its quota is written. The error: it must
    // not start now.
    Status ensure(const Record& record);

    void start();
    void stop();
    void wake();

    // One pass; public for tests, not while the thread runs. How many allocations are limited.
    std::size_t round(TimePoint now);

  private:
    struct Limited {
        isolation::LimitsFile file;
        isolation::Quota quota;
        GuardMetrics metrics{};
        isolation::LedgerMark mark{};
        isolation::LedgerCopy seen{};  // the last that could be read
        bool readable = true;
        TimePoint since{};  // of the first round with it
        // The last ones, so that each is logged once: of the cap, and of the files.
        std::string problem{};
        std::string failure{};
    };
    void run();
    Result<Limited*> open(const Record& record);
    // Takes the file that is there now, when it was made anew; only before a start.
    Status reopen(const Record& record, Limited& limited);
    // Writes the quota; the record's caps are corrected where the pod's annotation changed them.
    Status settle(const Record& record, const std::vector<Record>& all, Limited& limited);
    // What the containers of each card do to each other, told to all of them. False when nothing
    // computes.
    bool control();
    void forget_gone(const std::vector<Record>& records, TimePoint now);
    // What was measured, into the pages; what to compare it with, to the watch.
    void exchange_measures(
        const std::vector<std::pair<const Record*, Limited*>>& settled, TimePoint now
    );
    // Logs `problem` when it is another than `last`, and keeps it there.
    static void note_problem(const Record& record, std::string& last, const std::string& problem);

    const GuardOptions options_;
    Allocator& allocator_;
    PodsView& pods_;
    const isolation::GuardFiles files_;

    std::mutex pages_mutex_;                  // guards the next two; held over short file I/O
    std::map<std::string, Limited> limited_;  // by token
    std::map<isolation::CardId, guard::AgentControl> controls_;
    std::unique_ptr<GuardWatch> watch_;         // nullptr: nothing is measured
    bool hangs_ = false;                        // the driver, as last reported
    std::map<std::string, TimePoint> strange_;  // folders without a record, since when

    std::mutex mutex_;  // guards the two below
    std::condition_variable changed_;
    bool stopping_ = false;
    bool woken_ = false;
    std::thread thread_;
};

// The record's cards with the caps that the pod asks for now; a cap that does not fit beside the
// other records of the card stays as it was, with the reason in `problem`. Pure.
std::vector<core::CardShare> caps_now(
    const Record& record,
    const NodePod& pod,
    const std::vector<Record>& all,
    const std::vector<core::Card>& cards,
    std::string& problem
);

}  // namespace egpu::agent
