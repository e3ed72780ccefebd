// Keeps the ledger equal to the kubelet's books over time: names containers, adopts unknown ones,
// releases those the kubelet has let go of, and reports placements that differ from the pods'
// annotations.
//
// One thread: woken by pod events, answered Allocate calls and a registered kubelet, else every 30
// s. A record is released only on the kubelet's evidence, twice, at least a second apart: not in
// pod-resources List, and not in the checkpoint (or the pod is known to be gone or terminal, for
// the kubelet writes its checkpoint lazily). A kubelet that does not answer and a link that is down
// free nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent/allocator.h"
#include "agent/identity.h"
#include "agent/kubelet_books.h"
#include "agent/pods_view.h"
#include "agent/publisher.h"
#include "base/clock.h"

namespace egpu::agent {

struct ReconcileOptions {
    Duration fallback = Seconds(30);
    Duration settle = Seconds(1);  // between the two rounds that release a record
    // No admission (and no other round) for so long before pod-resources is listed …
    Duration quiet = Millis(100);
    Duration longest_quiet = Seconds(1);             // … but no longer waited than this
    Duration unclear_for = std::chrono::minutes(5);  // listed by nobody, but in the checkpoint
    // So long after it went missing an unclear record is looked at every `settle`: right after a
    // start the pods' fate is not known before the watch has proved itself.
    Duration unclear_retry = Seconds(10);
    Duration list_deadline = Seconds(2);
    Duration fate_deadline = Millis(500);
    bool state_lost = false;  // the first round takes over whatever the kubelet's books hold
};

class Reconciler {
  public:
    // Without an API server `report` is empty.
    using Report = std::function<void(PlacementReport)>;
    Reconciler(
        ReconcileOptions options,
        Allocator& allocator,
        KubeletBooksReader& books,
        PodsView& pods,
        Report report
    );
    ~Reconciler();  // stop()
    Reconciler(const Reconciler&) = delete;
    Reconciler& operator=(const Reconciler&) = delete;

    void start();
    void stop();
    void wake();
    // Were both of the kubelet's books read, since the start, and taken over?
    bool books_read() const { return books_read_; }

    // One pass; true when another one is wanted after `settle`. Public for tests; not while the
    // thread runs.
    bool round(TimePoint now);

  private:
    enum class Evidence { kHeld, kUnclear, kGone };
    struct Missing {
        int rounds = 0;
        TimePoint last{};   // of the last round that counted
        TimePoint since{};  // first round without the record in the list
    };
    void run();
    void wait_for_quiet();
    Evidence evidence(
        const Record& record, const BookEntry* entry, const KubeletBooks& books, TimePoint deadline
    );
    bool release_missing(const KubeletBooks& books, TimePoint now);
    void report_placements();

    const ReconcileOptions options_;
    Allocator& allocator_;
    KubeletBooksReader& books_;
    PodsView& pods_;
    const Report report_;
    std::atomic<bool> books_read_{false};
    // Only the thread uses these.
    std::map<std::string, Missing> missing_;  // by token
    bool adopt_unclear_;
    bool books_failed_ = false;
    TimePoint last_round_{};

    std::mutex mutex_;  // guards the two below
    std::condition_variable changed_;
    bool stopping_ = false;
    bool woken_ = false;
    std::thread thread_;
};

// What the containers of `pod` really have, when each of them is recorded and it differs from the
// pod's placement. Pure.
std::optional<PlacementReport> placement_report(
    const NodePod& pod, const std::vector<Record>& records, const std::vector<core::Card>& cards
);

}  // namespace egpu::agent
