// What the compute controller keeps in shared memory: plain words for the pages of guard/pages.h.
//
// Both structs live in the `ledger`, which the container can write. Nothing here is trusted by the
// agent, and the controller survives any value in them: a container that writes them harms its own
// pace, no other container's. All zero is a valid start. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <atomic>
#include <cstdint>

namespace egpu::guard {

// One per container and card; all its processes share it.
struct alignas(64) ComputeBucket {
    std::atomic<std::uint64_t> word;        // tokens and the time of the last refill, see bucket.h
    std::atomic<std::uint64_t> demand_ns;   // when a process last charged or was held back
    std::atomic<std::uint64_t> largest_ns;  // largest kernel of late, deepens the bucket
    std::uint64_t reserved[5];
};

// One per process and card; only that process adds. Never goes back.
struct alignas(64) ComputeCounters {
    std::atomic<std::uint64_t> launches;      // charged launches
    std::atomic<std::uint64_t> charged_ns;    // GPU time charged for them
    std::atomic<std::uint64_t> throttled_ns;  // held back by the bucket or the priority gate
    std::atomic<std::uint64_t> span_ns;       // card's time between the events of measured segments
    std::atomic<std::uint64_t> span_cost_ns;  // what was charged for those same segments
    std::atomic<std::uint64_t> largest_ns;    // longest kernel seen
    std::atomic<std::uint64_t> let_through;  // launches let through because a wait was at its bound
    std::atomic<std::uint64_t> outstanding_ns;  // charged, not known to have completed
};

static_assert(sizeof(ComputeBucket) == 64 && sizeof(ComputeCounters) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace egpu::guard
