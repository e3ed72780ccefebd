// What the agent says about one container's compute on one card (a copy out of the `limits` page).
#pragma once

#include <cstdint>

namespace egpu::guard {

enum class ComputeMode : std::uint32_t {
    kOff = 0,    // nothing is charged
    kHard = 1,   // never more than the share
    kSoft = 2,   // the share is promised; what neighbours leave idle is lent (rate_ppm)
    kBurst = 3,  // the share on average over burst_ns: a deep bucket
};

constexpr std::uint32_t kWholePpm = 1'000'000;
// A contention at or above this means: no neighbour.
constexpr std::uint32_t kAlonePpm = 990'000;

struct ComputePolicy {
    ComputeMode mode = ComputeMode::kOff;
    std::uint32_t share_ppm = kWholePpm;  // promised part of the card, millionths
    std::uint32_t rate_ppm = 0;    // soft: part lent at the moment; below the share: the share
    std::uint32_t gain_ppm = 0;    // slow trim of the refill by the agent; 0: none yet
    std::uint32_t neighbours = 0;  // other processes on the card that want it now; 0 if unknown
    // Part of the time between two events that the card really worked for this container;
    // kWholePpm: no neighbour. 0: the agent does not know.
    std::uint32_t contention_ppm = 0;
    std::uint32_t gated = 0;        // best effort, and a guaranteed neighbour wants the card now
    std::uint32_t spatial = 0;      // kernels of several processes run beside each other (MPS)
    std::uint32_t block_slots = 0;  // spatial: threads the card runs at once (SMs x threads per SM)
    std::uint64_t burst_ns = 0;     // burst: wall time over which the share is kept; 0: 2 s
};

// What stays of a policy when the agent has not been heard of for a while: the promise, none of
// what it has to keep measuring for. `age_ns`: since its heartbeat.
constexpr std::uint64_t kAgentStaleNs = 5'000'000'000;
constexpr ComputePolicy without_stale(ComputePolicy policy, std::uint64_t age_ns) {
    if (age_ns <= kAgentStaleNs) return policy;
    policy.rate_ppm = policy.gain_ppm = policy.contention_ppm = 0;
    policy.neighbours = policy.gated = 0;
    return policy;
}

// Speed of refill in millionths of the card.
constexpr std::uint64_t refill_ppm(const ComputePolicy& policy) {
    std::uint64_t rate = policy.share_ppm < kWholePpm ? policy.share_ppm : kWholePpm;
    if (policy.mode == ComputeMode::kSoft && policy.rate_ppm > rate) {
        rate = policy.rate_ppm < 2 * kWholePpm ? policy.rate_ppm : 2 * kWholePpm;
    }
    if (policy.gain_ppm != 0) {
        const std::uint64_t gain = policy.gain_ppm < 400'000     ? 400'000
                                   : policy.gain_ppm > 2'000'000 ? 2'000'000
                                                                 : policy.gain_ppm;
        rate = rate * gain / kWholePpm;
    }
    return rate == 0 ? 1 : rate;
}

}  // namespace egpu::guard
