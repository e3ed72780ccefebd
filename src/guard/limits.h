// Reading the agent's page. The page is mapped read-only and may change at any moment; a reader
// never waits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guard/pages.h"

namespace egpu::guard {

// nullptr when the page can be used, else what is wrong with it (static text for one log line).
const char* why_invalid(const LimitsPage& page, std::size_t file_size);

inline constexpr int kLimitsTries = 8;

// A consistent copy of one device's limits; `index` < kMaxDevices. False when the agent kept
// changing the page (after 8 tries); `out` is not touched then.
bool read_device(const LimitsPage& page, unsigned index, DeviceLimits& out);

// Index of the card with this UUID, or -1. Cards do not move while an allocation lives.
int find_device(const LimitsPage& page, const std::uint8_t (&uuid)[16]);

// The part of DeviceLimits that every allocation asks for.
struct MemoryLimits {
    std::uint64_t hard;
    std::uint64_t soft;
    std::uint64_t overhead;
    std::uint32_t flags;
};
// As read_device().
inline bool read_memory(const LimitsPage& page, unsigned index, MemoryLimits& out) {
    for (int i = 0; i < kLimitsTries; ++i) {
        const std::uint32_t before = page.generation.load(std::memory_order_acquire);
        const DeviceLimits& from = page.body[before & 1U].devices[index];
        const MemoryLimits copy{
            __atomic_load_n(&from.mem_hard, __ATOMIC_RELAXED),
            __atomic_load_n(&from.mem_soft, __ATOMIC_RELAXED),
            __atomic_load_n(&from.overhead_bytes, __ATOMIC_RELAXED),
            __atomic_load_n(&from.flags, __ATOMIC_RELAXED)};
        std::atomic_thread_fence(std::memory_order_acquire);
        if (page.generation.load(std::memory_order_relaxed) == before) [[likely]] {
            out = copy;
            return true;
        }
    }
    return false;
}
constexpr MemoryLimits memory_part(const DeviceLimits& limits) {
    return MemoryLimits{limits.mem_hard, limits.mem_soft, limits.overhead_bytes, limits.flags};
}

// Bytes that allocations may use: the quota, less what the agent measured beside the ledger.
inline std::uint64_t effective_limit(const MemoryLimits& limits, bool managed) {
    std::uint64_t limit = limits.hard;
    if (limit == kUnlimited) return kUnlimited;
    if (managed && (limits.flags & kManagedOvercommit) != 0 && limits.soft > limit)
        limit = limits.soft;
    if ((limits.flags & kChargeOverhead) != 0) {
        limit = limit > limits.overhead ? limit - limits.overhead : 0;
    }
    return limit;
}

// "3000m", "2G", "1048576": HAMi's spelling of CUDA_DEVICE_MEMORY_LIMIT. False when it is not a
// size.
bool parse_size(const char* text, std::uint64_t& bytes);

}  // namespace egpu::guard
