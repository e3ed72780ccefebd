// Measurement: segments between two events, and what they teach.
#include "guard/compute/controller.h"
#include "guard/compute/locked.h"

namespace egpu::guard {

namespace {

// A card that took so many times longer than the host was still at work on earlier launches when
// the last one came: no gaps but the first.
constexpr std::uint64_t kSpanOverIssue = 3;
constexpr std::uint64_t kQuickIssueNs = 50'000;
constexpr std::uint32_t kPatience = 8;
constexpr std::uint64_t kLostStartNs = 5'000'000'000;  // its thread is gone or idle
constexpr std::int64_t kSaneNs = 60'000'000'000;

std::uint64_t ratio_ppm(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return kWholePpm;
    return static_cast<std::uint64_t>(
        static_cast<double>(part) / static_cast<double>(whole) * kWholePpm
    );
}

// Part of the SMs a grid can use when kernels of several processes run beside each other.
std::uint32_t part_of_card(const Launch& launch, const ComputePolicy& policy) {
    if (policy.spatial == 0 || policy.block_slots == 0) return kWholePpm;
    double threads = 1;
    for (int i = 0; i < 3; ++i) threads *= static_cast<double>(launch.grid[i]) * launch.block[i];
    const double part = threads / policy.block_slots;
    return part >= 1      ? kWholePpm
           : part < 0.001 ? 1000
                          : static_cast<std::uint32_t>(part * kWholePpm);
}

}  // namespace

int CardController::take_slot(std::uint64_t now_ns) {
    void* const context = platform_->context(platform_->self);
    int found = -1;
    for (int i = 0; i < kSlots; ++i) {
        EventSlot& slot = slots_[i];
        if (slot.uses == 1 && slot.open && now_ns - slot.taken_ns > kLostStartNs &&
            now_ns > slot.taken_ns) {
            ++slot.generation;
            slot.uses = 0;
        }
        if (slot.uses != 0) continue;
        if (slot.event != nullptr && slot.context == context) {
            found = i;
            break;
        }
        if (found < 0 || (slots_[found].event != nullptr && slot.event == nullptr)) found = i;
    }
    if (found < 0) return -1;
    EventSlot& slot = slots_[found];
    if (slot.event == nullptr || slot.context != context) {
        if (slot.event != nullptr) platform_->event_destroy(platform_->self, slot.event);
        slot.event = platform_->event_create(platform_->self);
        slot.context = context;
        if (slot.event == nullptr) return -1;
    }
    slot.uses = 1;
    slot.open = false;
    slot.taken_ns = now_ns;
    ++slot.generation;
    return found;
}

void CardController::release_slot(int slot) {
    if (slot >= 0 && slots_[slot].uses > 0) --slots_[slot].uses;
}

void CardController::begin_segment(
    ThreadState& thread, const Launch& launch, std::uint64_t now_ns
) {
    thread.opened_ns = now_ns;
    const Locked locked(lock_);
    if (!locked) return;
    const int slot = take_slot(now_ns);
    if (slot < 0) return;
    if (!platform_->event_record(platform_->self, slots_[slot].event, launch.stream)) {
        release_slot(slot);
        return;
    }
    // A record takes microseconds of the host, and the card meets it at the end of them.
    thread.opened_ns = platform_->now_ns(platform_->self);
    slots_[slot].open = true;
    thread.start_event = static_cast<std::int16_t>(slot + 1);
    thread.start_generation = slots_[slot].generation;
}

void CardController::end_segment(
    ThreadState& thread,
    const Launch& launch,
    const ComputePolicy& policy,
    std::uint64_t now_ns,
    std::uint64_t launched_ns
) {
    const std::uint32_t launches = thread.launches();
    if (launches == 0) {
        drop_segment(thread);
        return;
    }
    Segment segment{};
    segment.start = segment.end = -1;
    segment.broken = thread.broken;
    segment.guessed = thread.first;
    segment.bracketed = launched_ns != 0;
    segment.exclusive = thread.exclusive;
    segment.crowded = thread.many_streams != 0;
    segment.launches = launches;
    segment.part_ppm = part_of_card(launch, policy);
    segment.charged_ns = thread.segment_ns();
    segment.stream = launch.stream;
    segment.shapes = thread.shapes;
    for (int i = 0; i < thread.shapes; ++i) {
        segment.shape[i].slot = thread.shape[i].slot - 1;
        segment.shape[i].count = thread.shape[i].count;
        segment.key[i] = costs_.at(segment.shape[i].slot).key.load(std::memory_order_relaxed);
    }
    {
        const Locked locked(lock_);
        const int start = thread.start_event - 1;
        const bool started =
            locked && start >= 0 && slots_[start].generation == thread.start_generation;
        if (locked && pending_count_ < kPending)
            segment.end = static_cast<std::int16_t>(take_slot(now_ns));
        if (segment.end >= 0) {
            if (started && !thread.broken) {
                segment.start = static_cast<std::int16_t>(start);
                slots_[start].open = false;
                segment.busy = platform_->event_query(platform_->self, slots_[start].event) ==
                               EventState::kNotReady;
            }
            if (platform_->event_record(
                    platform_->self, slots_[segment.end].event, launch.stream
                )) {
                // Read after the record: an interruption in the middle counts as well.
                segment.issue_ns = platform_->now_ns(platform_->self) - thread.opened_ns;
                segment.gap_ns = segment.bracketed ? launched_ns - thread.opened_ns
                                                   : segment.issue_ns / segment.launches;
                pending_[pending_count_++] = segment;
                outstanding_.fetch_add(segment.charged_ns, std::memory_order_relaxed);
                thread.start_event = 0;
                if (started && segment.start < 0) release_slot(start);
            } else {
                release_slot(segment.end);
            }
        }
    }
    const bool lost = thread.broken;
    drop_segment(thread);
    thread.measure_alone = lost;
}

// What of the span no span of another stream has covered: streams of one process that run beside
// each other use the card once.
std::uint64_t CardController::uncovered_span(const Segment& segment, std::uint64_t span_ns) {
    std::uint64_t own = span_ns;
    bool later = true;
    if (cover_ != 0 && cover_stream_ != segment.stream &&
        slots_[cover_ - 1].context == slots_[segment.end].context) {
        std::int64_t beyond = 0;
        if (platform_->event_span(
                platform_->self, slots_[cover_ - 1].event, slots_[segment.end].event, &beyond
            )) {
            later = beyond > 0;
            if (beyond <= 0)
                own = 0;
            else if (static_cast<std::uint64_t>(beyond) < span_ns)
                own = static_cast<std::uint64_t>(beyond);
        }
    }
    if (later) {
        if (cover_ != 0) release_slot(cover_ - 1);
        ++slots_[segment.end].uses;
        cover_ = segment.end + 1;
        cover_stream_ = segment.stream;
    }
    const std::uint64_t ratio = ratio_ppm(own, span_ns);
    overlap_ppm_ = static_cast<std::uint32_t>((std::uint64_t{overlap_ppm_} * 15 + ratio) / 16);
    if (overlap_ppm_ < 20'000) overlap_ppm_ = 20'000;
    return own;
}

void CardController::finish(
    const Segment& segment, const ComputePolicy& policy, std::uint64_t now_ns
) {
    if (segment.start < 0) return;
    std::int64_t measured = 0;
    if (!platform_->event_span(
            platform_->self, slots_[segment.start].event, slots_[segment.end].event, &measured
        ))
        return;
    if (measured < 0 || measured > kSaneNs) return;
    auto span = static_cast<std::uint64_t>(measured);
    if (!segment.busy) {
        // An idle card met the start before the first kernel was there.
        const bool telling = segment.bracketed ? segment.issue_ns <= kQuickIssueNs
                                               : segment.issue_ns * kSpanOverIssue <= span;
        if (telling) {
            const std::uint64_t gap = segment.gap_ns < span ? segment.gap_ns : span;
            span = span - gap > span / 4 ? span - gap : span / 4;
            if (span == 0) span = 1;
        } else {
            // The thread was interrupted, or its launches left gaps. A host that is never quicker
            // gets its word in the end: too high a cost is better than a guess.
            std::uint32_t in_a_row = 0;
            for (int i = 0; i < segment.shapes; ++i) {
                in_a_row = costs_.unusable(segment.shape[i].slot, segment.key[i]);
            }
            if (!segment.bracketed || in_a_row < kPatience) return;
        }
    }
    const std::uint64_t own = uncovered_span(segment, span);
    const bool alone = policy.contention_ppm >= kAlonePpm;
    std::uint64_t effective = span * overlap_ppm_ / kWholePpm;
    std::uint64_t actual = own;
    if (policy.spatial != 0) {
        if (segment.shapes != 1) return;
        effective = effective * segment.part_ppm / kWholePpm;
        actual = actual * segment.part_ppm / kWholePpm;
    }
    const auto charged = static_cast<std::int64_t>(segment.charged_ns);
    std::int64_t difference = 0;
    bool exact = alone && !segment.crowded;
    std::uint64_t believed = segment.charged_ns;
    if (segment.shapes == 1 && segment.key[0] != 0) {
        const CostTable::Lesson lesson = costs_.teach(
            segment.shape[0].slot,
            segment.key[0],
            effective,
            segment.launches,
            // Side by side nobody takes turns: the agent's part of the time says nothing.
            {.share_ppm = policy.spatial != 0 && !alone ? 0 : policy.contention_ppm,
             .neighbours = policy.neighbours,
             .spatial = policy.spatial != 0,
             .crowded = segment.crowded}
        );
        exact = lesson.exact;
        if (segment.guessed) {
            believed = lesson.cost_ns * segment.launches;
            difference = static_cast<std::int64_t>(believed) - charged;
        }
    } else if (segment.shapes > 1) {
        // As for a single shape: a short segment is clean or met whole slices of a neighbour.
        const bool in_slice = policy.spatial == 0 && segment.charged_ns < CostTable::kInSliceNs;
        const std::uint64_t part =
            alone || in_slice || policy.contention_ppm == 0 ? kWholePpm : policy.contention_ppm;
        const std::uint64_t ratio = ratio_ppm(effective * part / kWholePpm, segment.charged_ns);
        if (alone || policy.spatial != 0 || !in_slice || ratio < kWholePpm * 3 / 2) {
            for (int i = 0; i < segment.shapes; ++i) {
                costs_.nudge(segment.shape[i].slot, segment.key[i], ratio);
            }
        }
    }
    counters_->span_ns.fetch_add(own, std::memory_order_relaxed);
    counters_->span_cost_ns.fetch_add(exact ? actual : believed, std::memory_order_relaxed);
    // What is known to be the cost is charged to the nanosecond, so that kernels whose cost varies
    // with their data are charged what they took.
    if (exact) difference = static_cast<std::int64_t>(actual) - charged;
    if (difference == 0) return;
    Bucket(bucket_->word).charge(now_ns, rate_of(policy), difference);
    counters_->charged_ns.fetch_add(
        static_cast<std::uint64_t>(difference), std::memory_order_relaxed
    );
}

void CardController::poll_locked(const ComputePolicy& policy, std::uint64_t now_ns) {
    constexpr int kBlocked = 8;
    void* blocked[kBlocked];
    int blocked_count = 0;
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < pending_count_; ++i) {
        const Segment segment = pending_[i];
        bool wait = false;
        for (int b = 0; b < blocked_count; ++b) wait = wait || blocked[b] == segment.stream;
        if (!wait) {
            const EventState state =
                platform_->event_query(platform_->self, slots_[segment.end].event);
            if (state == EventState::kNotReady) {
                wait = true;
                if (blocked_count < kBlocked) blocked[blocked_count++] = segment.stream;
            } else if (state == EventState::kReady) {
                finish(segment, policy, now_ns);
            }
        }
        if (wait) {
            pending_[kept++] = segment;
            continue;
        }
        release_slot(segment.start);
        release_slot(segment.end);
        outstanding_.fetch_sub(segment.charged_ns, std::memory_order_relaxed);
    }
    pending_count_ = kept;
}

void CardController::poll() {
    if (policy_seq_ == nullptr) return;
    ComputePolicy policy;
    platform_->load_policy(platform_->self, &policy);
    const std::uint64_t now = platform_->now_ns(platform_->self);
    const Locked locked(lock_);
    if (locked) poll_locked(policy, now);
}

void CardController::context_gone(void* context) {
    const Locked locked(lock_);
    if (!locked) return;
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < pending_count_; ++i) {
        if (slots_[pending_[i].end].context != context) {
            pending_[kept++] = pending_[i];
            continue;
        }
        outstanding_.fetch_sub(pending_[i].charged_ns, std::memory_order_relaxed);
    }
    pending_count_ = kept;
    if (cover_ != 0 && slots_[cover_ - 1].context == context) cover_ = 0;
    for (EventSlot& slot : slots_) {
        if (slot.context != context) continue;
        slot.event = nullptr;  // destroyed with its context
        slot.context = nullptr;
        slot.uses = 0;
        ++slot.generation;
    }
}

void CardController::release_events() {
    pending_count_ = 0;
    outstanding_.store(0, std::memory_order_relaxed);
    cover_ = 0;
    for (EventSlot& slot : slots_) {
        if (slot.event != nullptr) platform_->event_destroy(platform_->self, slot.event);
        slot = EventSlot{};
    }
}

void CardController::after_fork_in_child() {
    policy_seq_ = nullptr;
    captures_.store(0, std::memory_order_relaxed);
    lock_.store(0, std::memory_order_relaxed);
    outstanding_.store(0, std::memory_order_relaxed);
    pending_count_ = 0;
    cover_ = 0;
    for (EventSlot& slot : slots_) slot = EventSlot{};
}

}  // namespace egpu::guard
