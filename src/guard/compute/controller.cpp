#include "guard/compute/controller.h"

#include "guard/compute/locked.h"

namespace egpu::guard {

namespace {

constexpr std::uint64_t kShortestWaitNs = 50'000;
constexpr std::uint64_t kLongestWaitNs = 5'000'000;
constexpr std::uint64_t kQueueWaitNs = 500'000;
constexpr std::uint64_t kLargestDeepensNs = 200'000'000;
constexpr std::uint64_t kLongestBurstNs = 60'000'000'000;
constexpr std::uint64_t kDefaultBurstNs = 2'000'000'000;

std::uint64_t clamp(std::uint64_t value, std::uint64_t low, std::uint64_t high) {
    return value < low ? low : value > high ? high : value;
}

}  // namespace

void CardController::attach(
    const Platform* platform,
    ComputeBucket* bucket,
    ComputeCounters* counters,
    const std::atomic<std::uint32_t>* policy_seq,
    const ControllerConfig& config
) {
    platform_ = platform;
    bucket_ = bucket;
    counters_ = counters;
    config_ = config;
    overlap_ppm_ = kWholePpm;
    policy_seq_ = policy_seq;
}

void CardController::capture_ends() {
    std::uint32_t open = captures_.load(std::memory_order_relaxed);
    while (open != 0 && !captures_.compare_exchange_weak(open, open - 1, std::memory_order_relaxed)
    ) {
    }
}

BucketRate CardController::rate_of(const ComputePolicy& policy) const {
    const std::uint64_t ppm = refill_ppm(policy);
    // What a container saves while neighbours' kernels delay its own work is not lost; what it
    // saves while it has no work should not make much of a burst.
    std::uint64_t window = config_.burst_ns;
    if (policy.neighbours != 0) window = config_.contended_burst_ns;
    if (policy.mode == ComputeMode::kBurst) {
        const std::uint64_t asked = policy.burst_ns == 0 ? kDefaultBurstNs : policy.burst_ns;
        window = clamp(asked, window, kLongestBurstNs);
    }
    std::uint64_t cap = window / 1000 * ppm / 1000;
    // Room for two of the largest kernels, which come in lumps.
    const std::uint64_t largest = bucket_->largest_ns.load(std::memory_order_relaxed);
    const std::uint64_t deep = 2 * (largest < kLargestDeepensNs ? largest : kLargestDeepensNs);
    if (cap < deep) cap = deep;
    if (cap < 2 * config_.grab_ns) cap = 2 * config_.grab_ns;
    return {
        .ppm = ppm,
        .cap_ns = static_cast<std::int64_t>(cap),
        .debt_ns =
            static_cast<std::int64_t>(config_.max_wait_ns / 1000 * ppm / 1000 + config_.grab_ns),
    };
}

std::uint64_t CardController::word_of(std::uint64_t key) {
    CostEntry& entry = costs_.at(CostTable::slot(key));
    if (entry.key.load(std::memory_order_relaxed) != key) return 0;
    const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
    return CostEntry::confidence(word) == 0 ? 0 : word;
}

void CardController::publish(const ThreadState& thread, std::uint64_t now_ns) {
    bucket_->demand_ns.store(now_ns, std::memory_order_relaxed);
    const std::uint32_t launches = thread.launches();
    if (launches == 0) return;
    counters_->launches.fetch_add(launches, std::memory_order_relaxed);
    counters_->charged_ns.fetch_add(thread.segment_ns(), std::memory_order_relaxed);
    const std::uint64_t each = thread.segment_ns() / launches;
    // The largest fades, so that one slow start does not deepen the bucket for good.
    std::uint64_t largest = bucket_->largest_ns.load(std::memory_order_relaxed);
    largest = each > largest ? each : largest - largest / 256;
    bucket_->largest_ns.store(largest, std::memory_order_relaxed);
    if (each > counters_->largest_ns.load(std::memory_order_relaxed)) {
        counters_->largest_ns.store(each, std::memory_order_relaxed);
    }
}

void CardController::drop_segment(ThreadState& thread) {
    if (thread.start_event != 0) {
        const Locked locked(lock_);
        if (locked && slots_[thread.start_event - 1].generation == thread.start_generation) {
            release_slot(thread.start_event - 1);
        }
    }
    thread.start_event = 0;
    thread.segment_credit_ns = thread.credit_ns;
    thread.other_launches = 0;
    for (auto& each : thread.shape) each = {};
    thread.shapes = 0;
    thread.broken = false;
    thread.first = false;
}

bool CardController::slow_before(ThreadState& thread, const Launch& launch) {
    if (policy_seq_ == nullptr) return false;
    const std::uint64_t key = shape_key(launch);
    if (thread.card != this) {
        // What another card's controller holds for this thread expires there.
        const std::uint32_t id = thread.id;
        thread = ThreadState{};
        thread.id = id;
        thread.card = this;
    }
    thread.wanted_ns = 0;
    if (platform_->capturing(platform_->self, launch.stream)) return false;
    thread.policy_seq = policy_seq_->load(std::memory_order_acquire);
    ComputePolicy policy;
    platform_->load_policy(platform_->self, &policy);
    thread.off = policy.mode == ComputeMode::kOff;
    if (thread.off) {
        thread.credit_ns = 0;
        drop_segment(thread);
        return false;
    }
    std::uint64_t word = word_of(key);
    const std::uint32_t slot = CostTable::slot(key);
    if (thread.many_streams != 0) --thread.many_streams;
    const std::uint32_t owner =
        owner_of(launch.stream, thread.id).exchange(thread.id, std::memory_order_relaxed);
    if ((thread.stream != launch.stream && thread.stream != nullptr) ||
        (owner != thread.id && owner != 0)) {
        thread.broken = thread.launches() != 0;
        thread.many_streams = ThreadState::kManyStreams;
    }
    change_stream(thread, launch.stream);
    thread.add_credit(thread.stashed_ns);
    thread.stashed_ns = 0;
    const bool waits = thread.exclusive;
    thread.exclusive = false;
    if (!waits && word != 0 &&
        thread.credit_ns >= static_cast<std::int64_t>(CostEntry::cost(word)) && policy.gated == 0) {
        count_launch(thread, slot, CostEntry::cost(word));
        return false;
    }

    std::uint64_t now = platform_->now_ns(platform_->self);
    publish(thread, now);
    end_segment(thread, launch, policy, now, 0);
    // Where several streams run beside each other, a span says something only about a kernel that
    // runs alone: from time to time the queue runs dry for one.
    const bool drain = thread.many_streams != 0 &&
                       (word == 0 || thread.grabs >= (CostEntry::confidence(word) < 8 ? 4 : 64));
    hold(key, policy, drain);
    if (policy.mode == ComputeMode::kOff) {
        thread.off = true;
        thread.add_credit(-thread.credit_ns);
        return false;
    }

    word = word_of(key);
    const std::uint64_t cost = word == 0 ? CostTable::kGuessNs : CostEntry::cost(word);
    now = platform_->now_ns(platform_->self);
    if (thread.credit_ns < static_cast<std::int64_t>(cost)) {
        const std::uint64_t grab = cost > config_.grab_ns ? cost : config_.grab_ns;
        Bucket(bucket_->word).charge(now, rate_of(policy), static_cast<std::int64_t>(grab));
        thread.add_credit(static_cast<std::int64_t>(grab));
    }
    thread.first = word == 0;
    thread.exclusive = drain && outstanding_.load(std::memory_order_relaxed) == 0;
    thread.grabs = thread.exclusive
                       ? std::uint8_t{0}
                       : static_cast<std::uint8_t>(thread.grabs + (thread.grabs < 255));
    if (thread.many_streams != 0 && !thread.exclusive && !thread.first) {
        thread.close_after = false;
        thread.opened_ns = now;
    } else {
        thread.close_after =
            thread.first || thread.exclusive || CostEntry::alone(word) || thread.measure_alone;
        begin_segment(thread, launch, now);
    }
    thread.measure_alone = false;
    count_launch(thread, slot, cost);
    if (thread.first) {
        CostEntry& entry = costs_.at(slot);
        entry.word.store(CostEntry::pack(cost, 0, false), std::memory_order_relaxed);
        entry.key.store(key, std::memory_order_relaxed);
    }
    return thread.close_after;
}

void CardController::after_launch(ThreadState& thread, const Launch& launch, bool launched) {
    if (thread.card != this || thread.off) return;
    const bool close = thread.close_after;
    thread.close_after = false;
    if (!launched) {
        const std::uint32_t launches = thread.launches();
        if (thread.wanted_ns == 0 || launches == 0) return;  // nothing was charged for it
        thread.other_launches = launches - 1;  // which of them does not matter: no lesson in these
        for (auto& each : thread.shape) each = {};
        thread.shapes = 0;
        thread.credit_ns += static_cast<std::int64_t>(thread.wanted_ns);
        thread.wanted_ns = 0;
        thread.broken = true;
        if (close) drop_segment(thread);
        return;
    }
    if (!close) return;
    const std::uint64_t now = platform_->now_ns(platform_->self);
    if (thread.exclusive) {
        // The next launch takes the slow path and waits there until this one is measured.
        thread.stashed_ns = thread.credit_ns;
        thread.add_credit(-thread.credit_ns);
    }
    ComputePolicy policy;
    platform_->load_policy(platform_->self, &policy);
    if (owner_of(launch.stream, thread.id).load(std::memory_order_relaxed) != thread.id) {
        thread.broken = true;
    }
    publish(thread, now);
    end_segment(thread, launch, policy, now, now);
}

bool CardController::measuring(std::uint64_t key) {
    const Locked locked(lock_);
    if (!locked) return false;
    for (std::uint32_t i = 0; i < pending_count_; ++i) {
        const Segment& segment = pending_[i];
        if (segment.exclusive) return true;
        if (segment.guessed && segment.shapes == 1 && segment.key[0] == key) return true;
    }
    return false;
}

void CardController::hold(std::uint64_t key, ComputePolicy& policy, bool drain) {
    const std::uint64_t begin = platform_->now_ns(platform_->self);
    std::uint64_t now = begin;
    std::uint64_t throttled = 0;
    std::uint64_t gate_until = begin + config_.gate_wait_ns;
    for (;;) {
        platform_->load_policy(platform_->self, &policy);
        if (policy.mode == ComputeMode::kOff) break;
        std::uint32_t queued = 0;
        {
            const Locked locked(lock_);
            if (locked) {
                poll_locked(policy, now);
                queued = pending_count_;
            }
        }
        const std::uint64_t word = word_of(key);
        const std::uint64_t cost = word == 0 ? CostTable::kGuessNs : CostEntry::cost(word);
        const std::uint64_t waited = now - begin;
        const std::uint64_t outstanding = outstanding_.load(std::memory_order_relaxed);
        counters_->outstanding_ns.store(outstanding, std::memory_order_relaxed);
        const BucketRate rate = rate_of(policy);
        std::uint64_t wait = 0;
        bool throttles = false;
        if (waited < config_.learn_wait_ns && measuring(key)) {
            wait = clamp(waited / 4, kShortestWaitNs, kQueueWaitNs);
        } else if (drain && outstanding != 0 && waited < config_.drain_wait_ns) {
            wait = kShortestWaitNs;
        } else if (((outstanding > config_.outstanding_ns && outstanding > cost) || queued > kPending - 4) &&
                   waited < clamp(8 * outstanding, config_.learn_wait_ns, 2'000'000'000)) {
            wait = clamp(
                (outstanding -
                 (outstanding < config_.outstanding_ns ? outstanding : config_.outstanding_ns)) /
                    2,
                kShortestWaitNs,
                kQueueWaitNs
            );
        } else if (policy.gated != 0 && now < gate_until) {
            wait = kLongestWaitNs;
            throttles = true;
        } else {
            const std::int64_t tokens = Bucket(bucket_->word).charge(now, rate, 0);
            if (tokens > 0) break;
            std::uint64_t bound = config_.max_wait_ns;
            if (policy.mode == ComputeMode::kSoft) {
                const std::uint64_t long_kernel = 2 * cost * kWholePpm / rate.ppm;
                bound = clamp(long_kernel, config_.soft_max_wait_ns, config_.max_wait_ns);
            }
            if (waited >= bound) {
                counters_->let_through.fetch_add(1, std::memory_order_relaxed);
                break;
            }
            wait = clamp(
                static_cast<std::uint64_t>(1 - tokens) * kWholePpm / rate.ppm,
                kShortestWaitNs,
                kLongestWaitNs
            );
            throttles = true;
        }
        bucket_->demand_ns.store(now, std::memory_order_relaxed);
        platform_->sleep_ns(platform_->self, wait);
        const std::uint64_t woke = platform_->now_ns(platform_->self);
        if (throttles) throttled += woke - now;
        now = woke;
    }
    if (throttled != 0) counters_->throttled_ns.fetch_add(throttled, std::memory_order_relaxed);
}

void CardController::forget(const void* graph_exec) {
    const std::uint64_t key = shape_key(Launch{.function = graph_exec});
    costs_.forget(key);
    const Locked locked(lock_);
    if (!locked) return;
    // What is still being measured is of the old shape.
    for (std::uint32_t i = 0; i < pending_count_; ++i) {
        for (std::uint64_t& pending : pending_[i].key) {
            if (pending == key) pending = 0;
        }
    }
}

}  // namespace egpu::guard
