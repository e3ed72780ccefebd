#include "guard/memory_account.h"

#include "guard/memory_stock.h"

namespace egpu::guard {
namespace {

constexpr int kAuditTries = 8;
constexpr int kRefusalTries = 3;

void raise(Word64& peak, std::uint64_t units) {
    std::uint64_t seen = peak.load(std::memory_order_relaxed);
    while (units > seen && !peak.compare_exchange_weak(seen, units, std::memory_order_relaxed)) {
    }
}

void subtract_saturating(Word64& from, std::uint64_t amount, Word64& inconsistencies) {
    std::uint64_t seen = from.load(std::memory_order_relaxed);
    while (!from.compare_exchange_weak(
        seen,
        seen >= amount ? seen - amount : 0,
        std::memory_order_release,
        std::memory_order_relaxed
    )) {
    }
    if (seen < amount) inconsistencies.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

bool holds_nothing(std::uint32_t live) {
    return live == 0 || (live & kOwnerDied) != 0;
}

bool try_reserve(
    Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes, std::uint64_t limit_bytes
) {
    const std::uint64_t units = to_units(bytes);
    if (units > kUnitMask) return false;
    if (units == 0) return true;
    const std::uint64_t limit =
        limit_bytes / kUnitBytes < kUnitMask ? limit_bytes / kUnitBytes : kUnitMask;
    DeviceTotals& totals = ledger.totals[device];
    std::uint64_t seen = totals.word.load(std::memory_order_acquire);
    // What cannot fit is refused before anything is written: a hopeless request disturbs no one.
    if ((seen & kUnitMask) > limit || units > limit - (seen & kUnitMask)) return false;

    Word64& used = ledger.slots[slot].used[device];
    used.fetch_add(units * kUnitBytes, std::memory_order_seq_cst);
    seen = totals.word.load(std::memory_order_acquire);
    for (;;) {
        const std::uint64_t now = seen & kUnitMask;
        if (now > limit || units > limit - now) {
            used.fetch_sub(units * kUnitBytes, std::memory_order_seq_cst);
            return false;
        }
        if (totals.word.compare_exchange_weak(
                seen, next_word(seen, now + units), std::memory_order_seq_cst
            )) {
            raise(totals.peak_units, now + units);
            return true;
        }
    }
}

bool reserve(
    Ledger& ledger,
    unsigned slot,
    unsigned device,
    std::uint64_t bytes,
    std::uint64_t limit_bytes,
    SlotIsDead is_dead
) {
    if (try_reserve(ledger, slot, device, bytes, limit_bytes)) return true;
    // The sum may hold the share of processes that died, and, right after someone else's audit,
    // updates that were counted twice. Only what can help is tried again.
    for (int i = 0; i < kRefusalTries && to_units(bytes) <= limit_bytes / kUnitBytes; ++i) {
        const std::uint64_t before = ledger.totals[device].word.load(std::memory_order_acquire);
        const bool exact = audit(ledger, device, is_dead);
        if (try_reserve(ledger, slot, device, bytes, limit_bytes) ||
            reserve_with_spare(ledger, slot, device, bytes, limit_bytes)) {
            return true;
        }
        const std::uint64_t after = ledger.totals[device].word.load(std::memory_order_acquire);
        if (exact && (before & kUnitMask) == (after & kUnitMask)) break;
    }
    ledger.totals[device].refused.fetch_add(1, std::memory_order_relaxed);
    ledger.slots[slot].stats.refused.fetch_add(1, std::memory_order_relaxed);
    return false;
}

void add_unconditionally(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes) {
    const std::uint64_t units = to_units(bytes) < kUnitMask ? to_units(bytes) : kUnitMask;
    if (units == 0) return;
    DeviceTotals& totals = ledger.totals[device];
    ledger.slots[slot].used[device].fetch_add(units * kUnitBytes, std::memory_order_seq_cst);
    std::uint64_t seen = totals.word.load(std::memory_order_acquire);
    std::uint64_t sum = 0;
    do {
        sum = (seen & kUnitMask) + units;
        if (sum > kUnitMask) sum = kUnitMask;
    } while (
        !totals.word.compare_exchange_weak(seen, next_word(seen, sum), std::memory_order_seq_cst)
    );
    raise(totals.peak_units, sum);
}

void lower_total(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t units) {
    DeviceTotals& totals = ledger.totals[device];
    std::uint64_t seen = totals.word.load(std::memory_order_acquire);
    std::uint64_t now = 0;
    do {
        now = seen & kUnitMask;
    } while (!totals.word.compare_exchange_weak(
        seen, next_word(seen, now >= units ? now - units : 0), std::memory_order_seq_cst
    ));
    if (now < units)
        ledger.slots[slot].stats.inconsistencies.fetch_add(1, std::memory_order_relaxed);
}

void release_used(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t units) {
    subtract_saturating(
        ledger.slots[slot].used[device],
        units * kUnitBytes,
        ledger.slots[slot].stats.inconsistencies
    );
}

void refund(Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes) {
    const std::uint64_t units = to_units(bytes);
    if (units == 0) return;
    lower_total(ledger, slot, device, units);
    release_used(ledger, slot, device, units);
}

bool audit(Ledger& ledger, unsigned device, SlotIsDead is_dead) {
    DeviceTotals& totals = ledger.totals[device];
    for (int i = 0; i < kAuditTries; ++i) {
        std::uint64_t seen = totals.word.load(std::memory_order_seq_cst);
        std::uint64_t units = 0;
        const unsigned slots = slots_so_far(ledger);
        for (unsigned s = 0; s < slots; ++s) {
            ProcessSlot& slot = ledger.slots[s];
            const std::uint32_t live = slot.live.load(std::memory_order_acquire);
            if (live == 0) continue;
            const std::uint64_t used = to_units(slot.used[device].load(std::memory_order_seq_cst)) +
                                       stocked_units(ledger.stocks[s], device);
            if (used == 0) continue;
            if (is_dead != nullptr ? is_dead(slot) : holds_nothing(live)) continue;
            units += used;
        }
        // The ledger is not trusted to be sane: a sum beyond the field is "everything is taken".
        if (units > kUnitMask) units = kUnitMask;
        if (units == (seen & kUnitMask)) return true;
        // Fails when anyone reserved or refunded since `seen`: the epoch moved.
        if (totals.word.compare_exchange_strong(
                seen, next_word(seen, units), std::memory_order_seq_cst
            )) {
            totals.audit_repairs.fetch_add(1, std::memory_order_relaxed);
            return true;
        }
    }
    return false;
}

}  // namespace egpu::guard
