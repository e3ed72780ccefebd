#include "guard/memory_stock.h"

namespace egpu::guard {
namespace {

// Whoever is adding up the slots starts again.
void change_epoch(DeviceTotals& totals) {
    std::uint64_t seen = totals.word.load(std::memory_order_acquire);
    while (!totals.word.compare_exchange_weak(
        seen, next_word(seen, seen & kUnitMask), std::memory_order_seq_cst
    )) {
    }
}

// The spare of one word, up to `most` units, becomes this slot's used[]. Returns how much.
std::uint64_t gather_from(
    Ledger& ledger, Word64& word, unsigned slot, unsigned device, std::uint64_t most
) {
    std::uint64_t seen = word.load(std::memory_order_acquire);
    const std::uint64_t there = spare_of(seen);
    const std::uint64_t units = there < most ? there : most;
    if (units == 0) return 0;
    Word64& used = ledger.slots[slot].used[device];
    used.fetch_add(units * kUnitBytes, std::memory_order_seq_cst);
    change_epoch(ledger.totals[device]);
    while (spare_of(seen) >= units) {
        if (word.compare_exchange_weak(
                seen,
                stock_word(reserved_of(seen) - units, spare_of(seen) - units),
                std::memory_order_seq_cst
            )) {
            return units;
        }
    }
    used.fetch_sub(units * kUnitBytes, std::memory_order_seq_cst);
    return 0;
}

// As gather_from(), all shards of a process. What a process held that has died counts no more once
// someone has added up: it must not be taken for something that the total still has.
std::uint64_t gather_of(
    Ledger& ledger, unsigned from, unsigned slot, unsigned device, std::uint64_t most
) {
    const Word32& holder = ledger.slots[from].live;
    const std::uint32_t live = holder.load(std::memory_order_acquire);
    const bool own = from == slot;
    // One that is held by pid may have died without a mark.
    if (!own && (holds_nothing(live) || (live & kHeldByPid) != 0)) return 0;
    std::uint64_t units = 0;
    for (ProcessStock::Shard& shard : ledger.stocks[from].shards) {
        units += gather_from(ledger, shard.word[device], slot, device, most - units);
    }
    if (own || units == 0 || holder.load(std::memory_order_seq_cst) == live) return units;
    ledger.slots[slot].used[device].fetch_sub(units * kUnitBytes, std::memory_order_seq_cst);
    return 0;
}

}  // namespace

void move_to_stock(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
) {
    const std::uint64_t units = to_units(bytes);
    Word64& word = ledger.stocks[slot].shards[shard].word[device];
    word.fetch_add(stock_word(units, 0), std::memory_order_seq_cst);
    change_epoch(ledger.totals[device]);
    release_used(ledger, slot, device, units);
}

void refund_stocked(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
) {
    const std::uint64_t units = to_units(bytes);
    if (units == 0) return;
    Word64& word = ledger.stocks[slot].shards[shard].word[device];
    lower_total(ledger, slot, device, units);
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    std::uint64_t left = 0;
    do {
        // Never below what is spare: that is reserved, too.
        const std::uint64_t granted = reserved_of(seen) - spare_of(seen);
        left = reserved_of(seen) - (units < granted ? units : granted);
    } while (!word.compare_exchange_weak(
        seen, stock_word(left, spare_of(seen)), std::memory_order_seq_cst
    ));
    if (reserved_of(seen) - left < units) {
        ledger.slots[slot].stats.inconsistencies.fetch_add(1, std::memory_order_relaxed);
    }
}

bool reserve_with_spare(
    Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes, std::uint64_t limit_bytes
) {
    const std::uint64_t wanted = to_units(bytes);
    if (wanted > kUnitMask || bytes > limit_bytes) return false;
    std::uint64_t have = gather_of(ledger, slot, slot, device, wanted);
    const unsigned slots = slots_so_far(ledger);
    for (unsigned i = 0; i < slots && have < wanted; ++i) {
        if (i != slot) have += gather_of(ledger, i, slot, device, wanted - have);
    }
    if (have == 0) return false;
    // What was gathered is in the total already; the total may be beyond a limit that was lowered.
    const bool fits =
        have < wanted ? try_reserve(ledger, slot, device, (wanted - have) * kUnitBytes, limit_bytes)
                      : used_bytes(ledger, device) <= limit_bytes;
    if (!fits) refund(ledger, slot, device, have * kUnitBytes);
    return fits;
}

std::uint64_t spare_bytes(const Ledger& ledger, unsigned device) {
    std::uint64_t units = 0;
    const unsigned slots = slots_so_far(ledger);
    for (unsigned i = 0; i < slots; ++i) {
        if (holds_nothing(ledger.slots[i].live.load(std::memory_order_relaxed))) continue;
        for (const ProcessStock::Shard& shard : ledger.stocks[i].shards)
            units += spare_of(shard.word[device].load(std::memory_order_relaxed));
    }
    return units * kUnitBytes;
}

std::uint64_t claimed_bytes(const Ledger& ledger, unsigned slot, unsigned device) {
    std::uint64_t units = 0;
    for (const ProcessStock::Shard& shard : ledger.stocks[slot].shards) {
        const std::uint64_t word = shard.word[device].load(std::memory_order_relaxed);
        units += reserved_of(word) - spare_of(word);
    }
    const std::uint64_t used = ledger.slots[slot].used[device].load(std::memory_order_relaxed);
    const std::uint64_t sum = used + units * kUnitBytes;
    return sum < used ? ~std::uint64_t{0} : sum;
}

std::uint64_t stocked_units(const ProcessStock& stock, unsigned device) {
    std::uint64_t units = 0;
    for (const ProcessStock::Shard& shard : stock.shards)
        units += reserved_of(shard.word[device].load(std::memory_order_seq_cst));
    return units;
}

}  // namespace egpu::guard
