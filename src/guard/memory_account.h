// The arithmetic of the memory quota on a ledger: reserve, refund, audit. No I/O, no locks, no
// waiting; every function may run in any number of threads and processes at once, and any of them
// may die at any store.
//
// Invariant: the granted bytes of live processes never exceed `totals`, and never what their slots
// say. An update writes the slot first when it grows and the total first when it shrinks, so a
// process that dies in between has only over-counted, and its slot is dropped whole by the next
// audit.
#pragma once

#include <cstdint>

#include "guard/pages.h"

namespace egpu::guard {

constexpr std::uint64_t to_units(std::uint64_t bytes) {
    return bytes / kUnitBytes + (bytes % kUnitBytes != 0 ? 1 : 0);
}

// Tells whether what a slot holds no longer counts. May look at /proc; called for slots that hold
// something only. nullptr: the robust word alone decides.
using SlotIsDead = bool (*)(ProcessSlot&);

// A word of DeviceTotals after an update of `word` that leaves `units`.
constexpr std::uint64_t next_word(std::uint64_t word, std::uint64_t units) {
    return (((word >> kUnitBits) + 1) << kUnitBits) | (units & kUnitMask);
}

// How many slots may be in use: those from there on never were. Bounded, whatever the ledger says.
inline unsigned slots_so_far(const Ledger& ledger) {
    const std::uint32_t count = ledger.slots_so_far.load(std::memory_order_acquire);
    return count < kSlots ? count : kSlots;
}

// Bytes that all processes hold of `device` now, by the total; the spare of their stocks
// (memory_stock.h) is in it.
inline std::uint64_t used_bytes(const Ledger& ledger, unsigned device) {
    return (ledger.totals[device].word.load(std::memory_order_acquire) & kUnitMask) * kUnitBytes;
}

// Adds `bytes` (rounded up to 512) for `slot` when the sum stays within `limit_bytes`. False, with
// nothing changed, when it would not. The limit may be below what is used already: then everything
// but 0 is refused.
bool try_reserve(
    Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes, std::uint64_t limit_bytes
);

// try_reserve; when refused, audits and tries again (bounded), and counts the refusal when that
// does not help.
bool reserve(
    Ledger& ledger,
    unsigned slot,
    unsigned device,
    std::uint64_t bytes,
    std::uint64_t limit_bytes,
    SlotIsDead is_dead
);

// Takes back `bytes` that were reserved for `slot`. Saturates at 0 and counts an inconsistency when
// the books held less.
void refund(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes);

// The two halves of refund(): from the total, then from the slot's used[].
void lower_total(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t units);
void release_used(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t units);

// Adds without asking: memory that the driver has taken already (a pool that grew more than
// foreseen).
void add_unconditionally(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes);

// Recomputes the total from the slots whose holders live. Gives up after a few tries when others
// update the total meanwhile; it is too high then, never too low. True when the total is known to
// be the sum.
bool audit(Ledger& ledger, unsigned device, SlotIsDead is_dead);

// By the robust word alone: free, or its holder died.
bool holds_nothing(std::uint32_t live);

}  // namespace egpu::guard
