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

// Takes `bytes` (rounded up to 512) out of the spare of one shard. False, with nothing changed,
// when there is not so much. The caller has seen that the total is within the limit.
bool take_spare(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
);

// Gives `bytes` that are reserved in the shard to its spare. False, with nothing changed, when that
// would be more than is kept: refund_stocked() then.
bool keep_spare(
    Ledger& ledger, unsigned slot, unsigned shard, unsigned device, std::uint64_t bytes
);

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
