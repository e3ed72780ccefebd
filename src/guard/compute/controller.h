// Holds the launches of one process on one card to the container's share.
//
// The hooks call it around every launch that runs on the card:
//
//     const bool after = controller.before_launch(thread, launch);   // may sleep, bounded
//     const int result = real_launch(...);
//     if (after || result != 0) controller.after_launch(thread, launch, result == 0);
//
// Units are nanoseconds of GPU time, charged to a bucket that all processes of the container share
// (words.h) and that fills at the container's share of wall time. What a launch costs is learned
// from events around segments of about half a millisecond of work (cost_table.h). A thread takes
// half a millisecond at a time from the bucket, so that a launch on the fast path takes no lock, no
// system call and touches no shared line that others write.
//
// Records events only on the stream of the launch at hand, never while that stream captures, and
// never touches a stream the application may have destroyed. Never waits for the card other than by
// bounded sleeps; what cannot be measured or locked is let through (compute fails open).
//
// Thread-safe; ThreadState belongs to one thread. All zero is the valid start state, so an object
// in static storage needs no constructor to run. After fork the child calls after_fork_in_child().
#pragma once

#include <atomic>
#include <cstdint>

#include "guard/compute/bucket.h"
#include "guard/compute/cost_table.h"
#include "guard/compute/platform.h"
#include "guard/compute/policy.h"
#include "guard/compute/words.h"

namespace egpu::guard {

// Tunables; kShippedConfig is what is shipped. No default values here: a controller in static
// storage has to be all zero, not megabytes of the file.
struct ControllerConfig {
    std::uint64_t grab_ns;             // taken from the bucket at once
    std::uint64_t outstanding_ns;      // charged work that may be queued and not completed
    std::uint64_t burst_ns;            // wall time the bucket saves up in hard and soft mode
    std::uint64_t contended_burst_ns;  // the same while neighbours want the card
    std::uint64_t max_wait_ns;         // longest hold of one launch by debt
    std::uint64_t soft_max_wait_ns;    // the same in soft mode, for kernels that fit in it
    std::uint64_t gate_wait_ns;        // longest hold by a guaranteed neighbour
    std::uint64_t drain_wait_ns;       // longest wait for the queue to run dry before a measurement
    std::uint64_t learn_wait_ns;       // longest wait for an unknown shape's first cost
};
constexpr ControllerConfig kShippedConfig{
    .grab_ns = 500'000,
    .outstanding_ns = 8'000'000,
    .burst_ns = 20'000'000,
    .contended_burst_ns = 200'000'000,
    .max_wait_ns = 10'000'000'000,
    .soft_max_wait_ns = 50'000'000,
    .gate_wait_ns = 100'000'000,
    .drain_wait_ns = 20'000'000,
    .learn_wait_ns = 50'000'000,
};

class CardController;

// What one thread carries between launches; at most 160 bytes, fit for initial-exec TLS. Zero
// before the first use. Set `id` (not 0, unique in the process) before the first launch.
struct ThreadState {
    static constexpr int kShapes = 4;
    static constexpr std::uint8_t kManyStreams = 8;  // grabs

    CardController* card;     // which controller the rest belongs to
    std::int64_t credit_ns;   // taken from the bucket, not used yet
    std::int64_t stashed_ns;  // credit put aside so that the next launch takes the slow path
    void* stream;             // of the last launch
    std::atomic<std::uint32_t>* owner;  // of that stream, in the controller's table
    std::int64_t segment_credit_ns;  // credit_ns would be this without the open segment's launches
    std::uint64_t opened_ns;         // when the segment's start event had been recorded
    std::uint64_t wanted_ns;         // cost of the last launch
    std::uint32_t other_launches;    // in the open segment, that no shape[] counts
    std::uint32_t id;
    std::uint32_t policy_seq;
    std::uint32_t start_generation;
    std::int16_t start_event;  // slot + 1; 0: none
    std::uint8_t shapes;       // entries of `shape` in use
    bool off;                  // launches are not charged
    bool broken;               // several streams, threads or too many shapes: no lesson in it
    bool close_after;          // the launch at hand is measured alone
    bool measure_alone;        // the next grab measures its first launch alone
    bool first;                // the launch at hand is its shape's first
    std::uint8_t
        many_streams;  // counts down since it last launched on another stream, or others on its own
    bool exclusive;    // measured alone, and nothing else launched meanwhile
    std::uint8_t grabs;  // since the last of these
    struct Shape {
        std::uint32_t slot;  // + 1; 0: not in use
        std::uint32_t count;
    };
    Shape shape[kShapes];  // of the last launch first

    std::uint64_t segment_ns() const {
        return static_cast<std::uint64_t>(segment_credit_ns - credit_ns);
    }
    // Takes from the bucket or gives back; no launch is charged.
    void add_credit(std::int64_t ns) {
        credit_ns += ns;
        segment_credit_ns += ns;
    }
    std::uint32_t launches() const {
        std::uint32_t sum = other_launches;
        for (const auto& each : shape) sum += each.count;
        return sum;
    }
};
static_assert(sizeof(ThreadState) <= 160);

class CardController {
  public:
    // Before the first launch. `policy_seq` changes with every change of the policy. All must
    // outlive the object's use. Not thread-safe against launches.
    void attach(
        const Platform* platform,
        ComputeBucket* bucket,
        ComputeCounters* counters,
        const std::atomic<std::uint32_t>* policy_seq,
        const ControllerConfig& config = kShippedConfig
    );

    // Charges the launch, holding it back when the share is used up. True: call after_launch().
    bool before_launch(ThreadState& thread, const Launch& launch) {
        const bool plain = policy_seq_ != nullptr && captures_.load(std::memory_order_relaxed) == 0;
        return !(plain && pay_from_credit(thread, launch)) && slow_before(thread, launch);
    }
    // The fast path of before_launch(): true when that is all there is to do. Else nothing was
    // charged, and before_launch() is due. Only while attached, and while nobody captures.
    bool pay_from_credit(ThreadState& thread, const Launch& launch);
    // `launched`: the driver took it; if not, the charge is given back.
    void after_launch(ThreadState& thread, const Launch& launch, bool launched);

    // Around cuStreamBeginCapture* and cuStreamEndCapture (also a failed end): while any capture is
    // open, every launch asks whether its stream captures, and is left alone if so. A hook that is
    // missing costs a wrong charge, not a broken graph: no event is recorded without asking.
    void capture_begins() { captures_.fetch_add(1, std::memory_order_relaxed); }
    void capture_ends();
    bool captures() const { return captures_.load(std::memory_order_relaxed) != 0; }

    // A CUgraphExec is destroyed, or a function is gone with its module: the handle may be reused.
    void forget(const void* graph_exec);
    // The context is destroyed or reset: its events are gone with it.
    void context_gone(void* context);
    // Gives the events back to the platform, e.g. before the library is unloaded. No launches
    // meanwhile.
    void release_events();
    // CUDA does not survive fork: the child starts anew when it attaches again.
    void after_fork_in_child();

    // A good moment to look at events without waiting, e.g. after a successful synchronise.
    void poll();

  private:
    static constexpr int kSlots = 128;
    static constexpr int kPending = 64;
    static constexpr int kOwners = 256;
    static constexpr std::uint32_t kSharedStream = ~std::uint32_t{0};  // of several threads

    struct EventSlot {
        EventHandle event;
        void* context;
        std::uint64_t taken_ns;
        std::uint32_t generation;  // counts the takers
        std::int16_t uses;
        bool open;  // the start of a segment that its thread has not ended
    };
    struct Segment {
        std::int16_t start;  // event slot, -1: not measured
        std::int16_t end;
        std::uint8_t shapes;
        bool broken;
        bool busy;       // the start had not been reached when the end was recorded: no gap inside
        bool guessed;    // charged by a guess: the difference is charged when it is known
        bool bracketed;  // one launch, recorded around within the hook
        bool exclusive;  // nothing of this process should run beside it
        bool crowded;    // but the tail of other streams' work may
        std::uint32_t launches;
        std::uint32_t part_ppm;  // spatial: part of the SMs the kernels can use
        std::uint64_t charged_ns;
        std::uint64_t issue_ns;  // host time from the first record to the second
        std::uint64_t gap_ns;    // of it, until the first launch had been made
        void* stream;
        struct {
            std::uint32_t slot;
            std::uint32_t count;
        } shape[ThreadState::kShapes];
        std::uint64_t key[ThreadState::kShapes];
    };

    // Out of credit, the shape is unknown, the policy changed, launches are not charged, or
    // somebody captures.
    bool slow_before(ThreadState& thread, const Launch& launch);
    static void count_another(ThreadState& thread, std::uint32_t name);
    void count_launch(ThreadState& thread, std::uint32_t slot, std::uint64_t cost);
    // Both take the lock.
    void begin_segment(ThreadState& thread, const Launch& launch, std::uint64_t now_ns);
    // `launched_ns`: when the only launch of a bracketed segment had been made; 0: not bracketed.
    void end_segment(
        ThreadState& thread,
        const Launch& launch,
        const ComputePolicy& policy,
        std::uint64_t now_ns,
        std::uint64_t launched_ns
    );
    void drop_segment(ThreadState& thread);
    // Waits until the launch may go; leaves the policy of that moment in `policy`.
    // `drain`: also waits, for a short time, until nothing is outstanding.
    void hold(std::uint64_t key, ComputePolicy& policy, bool drain);
    BucketRate rate_of(const ComputePolicy& policy) const;
    std::uint64_t word_of(std::uint64_t key);  // 0: unknown
    // Something is being measured that this launch would disturb or should wait for.
    bool measuring(std::uint64_t key);
    void publish(const ThreadState& thread, std::uint64_t now_ns);

    // Under the lock.
    void poll_locked(const ComputePolicy& policy, std::uint64_t now_ns);
    void finish(const Segment& segment, const ComputePolicy& policy, std::uint64_t now_ns);
    std::uint64_t uncovered_span(const Segment& segment, std::uint64_t span_ns);
    int take_slot(std::uint64_t now_ns);
    void release_slot(int slot);

    std::atomic<std::uint32_t>& owner_of(void* stream, std::uint32_t id);
    void change_stream(ThreadState& thread, void* stream);

    const Platform* platform_;
    ComputeBucket* bucket_;
    ComputeCounters* counters_;
    const std::atomic<std::uint32_t>* policy_seq_;
    ControllerConfig config_;
    std::atomic<std::uint32_t> captures_;
    std::atomic<std::uint32_t> lock_;
    std::atomic<std::uint64_t> outstanding_;
    std::atomic<std::uint32_t>
        owners_[kOwners];  // last thread that launched on such a stream, or kSharedStream
    CostTable costs_;
    EventSlot slots_[kSlots];
    Segment pending_[kPending];  // oldest first
    std::uint32_t pending_count_;
    std::int32_t cover_;  // slot of the latest end event seen + 1: time before it is accounted for
    void* cover_stream_;
    std::uint32_t overlap_ppm_;  // part of the spans of late that no other stream's span covered
};

// ---- the fast path ----

inline std::atomic<std::uint32_t>& CardController::owner_of(void* stream, std::uint32_t id) {
    auto bits = reinterpret_cast<std::uint64_t>(stream);
    // The per-thread handle names another stream in every thread.
    if (bits == 2) bits = std::uint64_t{id} * 16;
    return owners_[(bits ^ bits >> 8 ^ bits >> 16) % kOwners];
}

inline void CardController::change_stream(ThreadState& thread, void* stream) {
    thread.stream = stream;
    thread.owner = &owner_of(stream, thread.id);
}

// A launch of another shape than the last one: in the hook as well, so that it calls nothing.
[[gnu::always_inline]] inline void CardController::count_another(
    ThreadState& thread, std::uint32_t name
) {
    const ThreadState::Shape last = thread.shape[0];
    for (unsigned i = 1; i < ThreadState::kShapes; ++i) {
        if (thread.shape[i].slot != name) continue;
        thread.shape[0] = {name, thread.shape[i].count + 1};
        thread.shape[i] = last;
        return;
    }
    if (thread.shapes == ThreadState::kShapes) {
        thread.broken = true;
        ++thread.other_launches;
        return;
    }
    thread.shape[thread.shapes++] = last;
    thread.shape[0] = {name, 1};
}

[[gnu::always_inline]] inline void CardController::count_launch(
    ThreadState& thread, std::uint32_t slot, std::uint64_t cost
) {
    const std::uint32_t name = slot + 1;
    if (thread.shape[0].slot == name) [[likely]] {
        ++thread.shape[0].count;
    } else if (thread.broken) {
        ++thread.other_launches;
    } else {
        count_another(thread, name);
    }
    thread.credit_ns -= static_cast<std::int64_t>(cost);
    thread.wanted_ns = cost;
}

[[gnu::always_inline]] inline bool CardController::pay_from_credit(
    ThreadState& thread, const Launch& launch
) {
    // Before the thread's first launch on this card, `card` is another one or none.
    if (thread.card != this || thread.policy_seq != policy_seq_->load(std::memory_order_relaxed))
        return false;
    if (thread.off) return true;
    const std::uint64_t key = shape_key(launch);
    const std::uint32_t slot = CostTable::slot(key);
    CostEntry& entry = costs_.at(slot);
    const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
    const auto cost = static_cast<std::int64_t>(CostEntry::cost(word));
    if (entry.key.load(std::memory_order_relaxed) != key || CostEntry::confidence(word) == 0 ||
        thread.credit_ns < cost) {
        return false;
    }
    if (thread.stream != launch.stream) {
        change_stream(thread, launch.stream);
        thread.broken = true;
        thread.many_streams = ThreadState::kManyStreams;
    }
    if (const std::uint32_t seen = thread.owner->load(std::memory_order_relaxed);
        seen != thread.id) {
        // Written once until one of them grabs again: threads that take turns on a stream do not
        // pass its line to and fro with every launch.
        if (seen != kSharedStream)
            thread.owner->store(seen == 0 ? thread.id : kSharedStream, std::memory_order_relaxed);
        thread.broken = true;
        thread.many_streams = ThreadState::kManyStreams;
    }
    count_launch(thread, slot, static_cast<std::uint64_t>(cost));
    return true;
}

}  // namespace egpu::guard
