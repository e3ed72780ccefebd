// A bucket of GPU nanoseconds in one word.
//
// The word holds the tokens (40 bits, signed nanoseconds: +-549 s) and the time of the last refill
// (24 bits, steps of 65.536 us, wraps every 18 minutes). One compare-and-swap refills and charges:
// a process that dies at any instruction leaves a whole state, and nobody waits for it. Steps are
// taken whole, so a fraction is never lost. After a pause of about a multiple of 18 minutes the
// bucket may look less full than it is.
#pragma once

#include <atomic>
#include <cstdint>

namespace egpu::guard {

struct BucketRate {
    std::uint64_t ppm = 0;     // tokens gained per nanosecond, in millionths
    std::int64_t cap_ns = 0;   // most tokens kept
    std::int64_t debt_ns = 0;  // least: -debt_ns
};

class Bucket {
  public:
    static constexpr unsigned kTimeBits = 24;
    static constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << kTimeBits) - 1;
    static constexpr unsigned kStepShift = 16;
    static constexpr std::uint64_t kStepNs = std::uint64_t{1} << kStepShift;

    explicit Bucket(std::atomic<std::uint64_t>& word) : word_(word) {}

    // Refills up to `now_ns`, takes `cost_ns` (negative: gives back) and returns the tokens left.
    // May go below zero, down to the debt floor. Lock-free.
    std::int64_t charge(std::uint64_t now_ns, const BucketRate& rate, std::int64_t cost_ns) {
        const std::uint64_t step = now_ns >> kStepShift;
        std::uint64_t old = word_.load(std::memory_order_relaxed);
        for (;;) {
            // Another process may have refilled with a slightly later clock: that is no time
            // passed.
            std::uint64_t passed = (step - old) & kTimeMask;
            if (passed > kTimeMask - 1024) passed = 0;
            std::int64_t tokens = static_cast<std::int64_t>(old) >> kTimeBits;
            tokens = clamp(tokens, rate);
            tokens +=
                static_cast<std::int64_t>((passed * kStepNs * rate.ppm + 500'000) / 1'000'000);
            if (tokens > rate.cap_ns) tokens = rate.cap_ns;
            tokens = clamp(tokens - cost_ns, rate);
            const std::uint64_t next =
                (static_cast<std::uint64_t>(tokens) << kTimeBits) | ((old + passed) & kTimeMask);
            if (next == old || word_.compare_exchange_weak(old, next, std::memory_order_relaxed)) {
                return tokens;
            }
        }
    }

  private:
    static std::int64_t clamp(std::int64_t tokens, const BucketRate& rate) {
        return tokens > rate.cap_ns ? rate.cap_ns : tokens < -rate.debt_ns ? -rate.debt_ns : tokens;
    }

    std::atomic<std::uint64_t>& word_;
};

}  // namespace egpu::guard
