// The lines and the table of block_map.h, for block_map.cpp only.
#pragma once

#include <cerrno>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guard/block_map.h"

namespace egpu::guard {

// A lock of a bucket. It is held for some nanoseconds and never around a call, so whoever waits for
// one whose holder is not running sleeps a little, and the holder need not know.
inline constexpr std::uint32_t kFree = 0;
inline constexpr std::uint32_t kTaken = 1;
inline constexpr std::uint32_t kMoved = 2;  // for good: what was here is in the next larger table
inline constexpr int kSpins = 200;
inline constexpr long kNapNs = 20'000;

inline void nap() {
    const timespec wait{0, kNapNs};
    const int kept = errno;
    syscall(SYS_nanosleep, &wait, nullptr);
    errno = kept;
}

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

inline std::uint64_t mix(std::uint64_t key) {
    return (key ^ key >> 32U) * 0x9e3779b97f4a7c15ULL;
}

[[gnu::always_inline]] inline int BlockMap::Line::seek(std::uint64_t wanted) const {
    for (unsigned at = 0; at < kInLine; ++at) {
        if (key[at].load(std::memory_order_relaxed) == wanted && holds(at))
            return static_cast<int>(at);
    }
    return -1;
}

[[gnu::always_inline]] inline bool BlockMap::Line::may_have(std::uint64_t wanted) const {
    return key[0].load(std::memory_order_acquire) == wanted ||
           key[1].load(std::memory_order_acquire) == wanted;
}

[[gnu::always_inline]] inline void BlockMap::Line::put(unsigned at, const Block& block) {
    size[at] = block.size;
    word[at] = block.kind == BlockKind::physical
                   ? std::uint64_t{block.mappings} << 32U | block.handles
                   : block.owner;
    note[at] = {block.device, block.kind, block.shard};
    key[at].store(block.key, std::memory_order_release);
}

[[gnu::always_inline]] inline void BlockMap::Line::get(unsigned at, Block& block) const {
    const bool physical = note[at].kind == BlockKind::physical;
    block.key = key[at].load(std::memory_order_relaxed);
    block.size = size[at];
    block.owner = physical ? 0 : word[at];
    block.handles = physical ? static_cast<std::uint32_t>(word[at]) : 0;
    block.mappings = physical ? static_cast<std::uint32_t>(word[at] >> 32U) : 0;
    block.device = note[at].device;
    block.kind = note[at].kind;
    block.shard = note[at].shard;
}

[[gnu::always_inline]] inline void BlockMap::Line::clear(unsigned at) {
    note[at].kind = BlockKind::none;
    key[at].store(0, std::memory_order_release);
}

inline bool BlockMap::Line::wait(std::uint32_t seen) {
    for (int i = 0;; ++i) {
        if (seen == kMoved) return false;
        i < kSpins ? relax() : nap();
        seen = lock.load(std::memory_order_acquire);
        if (seen == kFree &&
            lock.compare_exchange_strong(seen, kTaken, std::memory_order_acquire)) {
            return true;
        }
    }
}

[[gnu::always_inline]] inline bool BlockMap::Line::take() {
    std::uint32_t seen = kFree;
    if (lock.compare_exchange_strong(seen, kTaken, std::memory_order_acquire)) [[likely]]
        return true;
    return wait(seen);
}

[[gnu::always_inline]] inline void BlockMap::Line::leave() {
    lock.store(kFree, std::memory_order_release);
}

struct BlockMap::Spot {
    Line* line;
    unsigned at;
    Line* before;  // in the bucket; nullptr: line is its first
};

// Lines 2 i and 2 i + 1 are bucket i; behind those of all buckets come spare lines.
struct alignas(64) BlockMap::Table {
    unsigned bits;
    std::uint32_t spares;              // how many spare lines there are
    std::uint32_t fresh;               // of them never used; changed under growing_
    std::atomic<std::uint32_t> spare;  // used and empty again: the first + 1
    std::atomic<Table*> larger;

    Line& line(std::size_t index) { return reinterpret_cast<Line*>(this + 1)[index]; }

    static std::size_t bytes(unsigned bits, std::uint32_t spares) {
        return sizeof(Table) + ((std::size_t{2} << bits) + spares) * sizeof(Line);
    }
    std::uint32_t buckets() const { return std::uint32_t{1} << bits; }
    Line& bucket(std::uint64_t key) { return line((mix(key) >> (64U - bits)) * 2); }
    Line* after(const Line& at) {
        const std::uint32_t next = at.next.load(std::memory_order_relaxed);
        return next == 0 ? nullptr : &line(next - 1);
    }
    std::uint32_t number(const Line& at) { return static_cast<std::uint32_t>(&at - &line(0)); }

    // Where the key is; line is nullptr when it is not there. `room` gets the first place that is
    // free, `last` the bucket's last line.
    Spot seek(Line& first, std::uint64_t key, Spot& room, Line*& last) {
        room = Spot{};
        Line* before = nullptr;
        for (Line* here = &first; here != nullptr; here = after(*here)) {
            for (unsigned at = 0; at < kInLine; ++at) {
                if (!here->holds(at)) {
                    if (room.line == nullptr) room = Spot{here, at, before};
                } else if (here->key[at].load(std::memory_order_relaxed) == key) {
                    return Spot{here, at, before};
                }
            }
            last = before = here;
        }
        return Spot{};
    }

    // The line beside the bucket's first becomes its last, when it is not in the bucket yet.
    Line* link_neighbour(Line& first, Line& last) {
        Line& neighbour = *(&first + 1);
        const std::uint32_t name = number(neighbour) + 1;
        for (const Line* here = &first; here != nullptr; here = after(*here)) {
            if (here->next.load(std::memory_order_relaxed) == name) return nullptr;
        }
        neighbour.next.store(0, std::memory_order_relaxed);
        last.next.store(name, std::memory_order_release);
        return &neighbour;
    }

    // Under growing_, so that nobody else takes one.
    Line* link_spare(Line& last) {
        std::uint32_t name = spare.load(std::memory_order_acquire);
        while (name != 0 && !spare.compare_exchange_weak(
                                name,
                                line(name - 1).next.load(std::memory_order_relaxed),
                                std::memory_order_acq_rel
                            )) {
        }
        if (name == 0) {
            if (fresh == 0) return nullptr;
            name = 2 * buckets() + spares - fresh-- + 1;
        }
        line(name - 1).next.store(0, std::memory_order_relaxed);
        last.next.store(name, std::memory_order_release);
        return &line(name - 1);
    }

    void erase(const Spot& spot) {
        Line& emptied = *spot.line;
        emptied.clear(spot.at);
        if (spot.before == nullptr || !emptied.empty()) return;
        spot.before->next.store(
            emptied.next.load(std::memory_order_relaxed), std::memory_order_relaxed
        );
        const std::uint32_t name = number(emptied) + 1;
        if (name <= 2 * buckets()) return;
        std::uint32_t head = spare.load(std::memory_order_relaxed);
        do {
            emptied.next.store(head, std::memory_order_relaxed);
        } while (!spare.compare_exchange_weak(head, name, std::memory_order_acq_rel));
    }
};

}  // namespace egpu::guard
