// What a kernel shape costs: learned GPU nanoseconds by function, grid and block.
//
// One table per card and process. Read on every launch without a lock: an entry is two relaxed
// words, and a reader that meets half a write charges one launch wrongly, no more. A second shape
// with the same slot replaces the first. Cooperative, Ex, per-thread-stream and plain launches of a
// shape share its entry; a graph is one shape, by its CUgraphExec.
#pragma once

#include <atomic>
#include <cstdint>

#include "guard/compute/policy.h"

namespace egpu::guard {

// One launch, as the hook sees it.
struct Launch {
    const void* function = nullptr;  // CUfunction, or the CUgraphExec of a graph launch
    std::uint32_t grid[3] = {1, 1, 1};
    std::uint32_t block[3] = {1, 1, 1};  // all 1 for graphs
    // The CUstream. The hook puts the special handles 1 (legacy) or 2 (per thread) for a null
    // stream, by the API that was called.
    void* stream = nullptr;
};

[[gnu::always_inline]] inline std::uint64_t shape_key(
    const void* function,
    std::uint32_t gx,
    std::uint32_t gy,
    std::uint32_t gz,
    std::uint32_t bx,
    std::uint32_t by,
    std::uint32_t bz
) {
    const auto sizes1 = static_cast<std::uint64_t>(gy) << 32 | gx;
    const auto sizes2 = static_cast<std::uint64_t>(bx) << 32 ^
                        static_cast<std::uint64_t>(by) << 44 ^
                        static_cast<std::uint64_t>(bz) << 56 ^ gz;
    const std::uint64_t key = (reinterpret_cast<std::uint64_t>(function) ^
                               sizes1 * 0x9E3779B97F4A7C15ULL ^ sizes2 * 0xD6E8FEB86659FD93ULL) *
                              0xC2B2AE3D27D4EB4FULL;
    return key | 1;  // 0 is an empty entry
}

inline std::uint64_t shape_key(const Launch& launch) {
    const auto& [gx, gy, gz] = launch.grid;
    const auto& [bx, by, bz] = launch.block;
    return shape_key(launch.function, gx, gy, gz, bx, by, bz);
}

struct CostEntry {
    std::atomic<std::uint64_t> key;
    // confidence 8 bits (0: a guess) | 1 bit: measure it alone | from bit 24 on the cost in ns, to
    // 18 minutes
    std::atomic<std::uint64_t> word;

    static constexpr unsigned kCostShift = 24;
    static constexpr std::uint64_t kMostNs = (std::uint64_t{1} << 40) - 1;
    static constexpr std::uint64_t cost(std::uint64_t word) { return word >> kCostShift; }
    static constexpr unsigned confidence(std::uint64_t word) { return word & 0xFF; }
    static constexpr bool alone(std::uint64_t word) { return (word >> 8 & 1) != 0; }
    static constexpr std::uint64_t pack(std::uint64_t cost, unsigned confidence, bool alone) {
        return (cost > kMostNs ? kMostNs : cost) << kCostShift |
               static_cast<std::uint64_t>(alone) << 8 |
               static_cast<std::uint64_t>(confidence > 255 ? 255 : confidence);
    }
};

// What learning needs beside the entry; touched only under the controller's lock.
struct CostHistory {
    std::uint64_t key = 0;
    std::uint64_t lowest_ns = 0;         // lowest span per launch in this window
    std::uint64_t lowest_before_ns = 0;  // and in the one before; 0: none
    std::uint64_t highest_ns = 0;        // the highest, likewise
    std::uint64_t highest_before_ns = 0;
    std::uint64_t mean_ns = 0;   // of the spans per launch among neighbours
    std::uint32_t spans = 0;     // in it
    std::uint64_t exact_ns = 0;  // the cost learned without neighbours; 0: never was
    std::uint32_t samples = 0;   // in this window
    std::uint32_t unusable = 0;  // measurements in a row that taught nothing
};

class CostTable {
  public:
    static constexpr std::uint32_t kEntries = 4096;
    static constexpr unsigned kSlotShift = 52;  // the upper bits of a key are the best mixed
    static_assert(std::uint64_t{kEntries} << kSlotShift == 0);
    static constexpr std::uint64_t kInSliceNs = 1'500'000;  // below the time slice of any card
    static constexpr std::uint64_t kGuessNs = 20'000;       // a shape nobody has measured yet

    static constexpr std::uint32_t slot(std::uint64_t key) {
        return static_cast<std::uint32_t>(key >> kSlotShift);
    }
    CostEntry& at(std::uint32_t index) { return entries_[index]; }
    CostHistory& history(std::uint32_t index) { return histories_[index]; }

    // A measurement: `launches` of this shape took `span_ns` on the card's clock between two
    // events. `around` is what is known of the neighbours at that time. The caller holds the lock.
    struct Around {
        std::uint32_t
            share_ppm;  // of the span, that was this container's; whole: alone; 0: unknown
        std::uint32_t neighbours;  // at most so many took turns with it; 0: unknown
        bool spatial;  // neighbours stretch a span evenly; else they come in whole slices
        bool crowded;  // other streams of the process may have run beside it
    };
    struct Lesson {
        std::uint64_t cost_ns;  // now believed
        bool exact;             // the span met no neighbour: it is what the card spent
    };
    Lesson teach(
        std::uint32_t index,
        std::uint64_t key,
        std::uint64_t span_ns,
        std::uint64_t launches,
        const Around& around
    );
    // A mixed segment took `ratio_ppm` of what was charged for it: move the shape 30 % of the way.
    void nudge(std::uint32_t index, std::uint64_t key, std::uint64_t ratio_ppm);
    // A measurement of the shape was not usable; after a few, it is measured alone. Returns how
    // many in a row.
    std::uint32_t unusable(std::uint32_t index, std::uint64_t key);
    // The handle is gone and may come back as something else (destroyed graph, unloaded module).
    void forget(std::uint64_t key);

  private:
    static std::uint64_t among_neighbours(
        const CostHistory& history,
        std::uint64_t launches,
        std::uint64_t bound,
        std::uint64_t top,
        const Around& around
    );
    CostHistory& history_of(std::uint32_t index, std::uint64_t key);

    CostEntry entries_[kEntries];
    CostHistory histories_[kEntries];
};

}  // namespace egpu::guard
