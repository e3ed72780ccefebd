// A process's stock of reserved memory (ProcessStock of pages.h): what it frees stays reserved for
// it, up to 16 MiB per shard, and its next allocation takes it back with one compare-and-swap of a
// word that only threads of the same shard write. No I/O, no locks, no waiting; as in
// memory_account.h any function may run anywhere at once and die at any store.
//
// What is reserved in a stock counts in the total like used[] of its slot. It moves between the two
// by: add there, change the total's epoch, subtract here. So whoever adds up in between counts it
// twice or notices, and a process that dies in between has over-counted.
#pragma once

#include "guard/memory_account.h"

namespace egpu::guard {

// The halves of a shard's word.
constexpr std::uint64_t reserved_of(std::uint64_t word) {
    return word >> kSpareBits;
}

// The words are the container's: more spare than is reserved is nonsense.
constexpr std::uint64_t spare_of(std::uint64_t word) {
    const std::uint64_t spare = word & kSpareMask;
    return spare < reserved_of(word) ? spare : reserved_of(word);
}

constexpr std::uint64_t stock_word(std::uint64_t reserved, std::uint64_t spare) {
    return reserved << kSpareBits | spare;
}

// Takes `bytes` (rounded up to 512) out of the spare of one shard. False, with nothing changed,
// when there is not so much. The caller has seen that the total is within the limit.
inline bool take_spare(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
) {
    const std::uint64_t units = to_units(bytes);
    Word64& word = ledger.stocks[slot].shards[shard].word[device];
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    while (spare_of(seen) >= units) {
        if (word.compare_exchange_weak(seen, seen - units, std::memory_order_seq_cst)) return true;
    }
    return false;
}

// Gives `bytes` that are reserved in the shard to its spare. False, with nothing changed, when that
// would be more than is kept: refund_stocked() then.
inline bool keep_spare(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
) {
    const std::uint64_t units = to_units(bytes);
    Word64& word = ledger.stocks[slot].shards[shard].word[device];
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    while (units <= kSpareUnits && spare_of(seen) + units <= kSpareUnits &&
           spare_of(seen) + units <= reserved_of(seen)) {
        if (word.compare_exchange_weak(
                seen,
                stock_word(reserved_of(seen), spare_of(seen) + units),
                std::memory_order_seq_cst
            )) {
            return true;
        }
    }
    return false;
}

// `bytes` that were reserved for the slot (reserve()) are reserved in its shard from now on.
void move_to_stock(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
);

// Takes back `bytes` that are reserved in the shard and not spare.
void refund_stocked(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
);

// reserve() for a request that does not fit: with the spare memory of this process and of others
// whose robust word says that they live, which is theirs no longer. Counts nothing.
bool reserve_with_spare(
    Ledger& ledger, unsigned slot, unsigned device, std::uint64_t bytes, std::uint64_t limit_bytes
);

// Bytes of the total that are spare in some living process's stock: nobody uses them.
std::uint64_t spare_bytes(const Ledger& ledger, unsigned device);

// Bytes that one slot's holder says it uses: reserved by it and not spare.
std::uint64_t claimed_bytes(const Ledger& ledger, unsigned slot, unsigned device);

// Units reserved in all shards of one stock.
std::uint64_t stocked_units(const ProcessStock& stock, unsigned device);

}  // namespace egpu::guard
