// A copy of the `ledger` of one allocation, made by the agent: what the container's processes say
// that they use. The container can write anything into it, and truncate it; it is read, never
// mapped, and no number in it is used as an index. Pure but for the read.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"
#include "guard/pages.h"

namespace egpu::isolation {

// Of one card, by its position in the limits page.
struct CardUsage {
    std::uint64_t used_bytes = 0;
    std::uint64_t peak_bytes = 0;
    std::uint64_t slots_bytes = 0;    // by the slots that are held
    std::uint64_t refused = 0;        // allocations refused for the quota
    std::uint64_t audit_repairs = 0;  // sums found too high and put right
    // Summed over the processes that are there; what ended processes did is not in it.
    std::uint64_t launches = 0;
    std::uint64_t charged_ns = 0;
    std::uint64_t throttled_ns = 0;
    std::uint64_t let_through = 0;     // launches let through because a wait was at its bound
    std::uint64_t outstanding_ns = 0;  // charged, not known to have completed
    // Of the compute bucket: when a process last charged or was held back (CLOCK_MONOTONIC), the
    // longest kernel of late.
    std::uint64_t demand_ns = 0;
    std::uint64_t largest_ns = 0;
};

// A process with work on some card.
struct ProcessUse {
    std::uint64_t id =
        0;  // tells it from the others of its ledger, and from who had its slot before
    std::array<std::uint64_t, guard::kMaxDevices> charged_ns{};
    std::array<std::uint64_t, guard::kMaxDevices> span_ns{};
    std::array<std::uint64_t, guard::kMaxDevices> span_cost_ns{};
};

// A held slot as its holder names itself; what it claims to have allocated.
struct SlotClaim {
    unsigned pid = 0;                 // in its own PID namespace; 0: not told (yet)
    std::uint64_t start_time = 0;     // as in /proc/PID/stat; 0: not told
    std::uint64_t pid_namespace = 0;  // inode; 0: not told
    std::array<std::uint64_t, guard::kMaxDevices> used_bytes{};
};

struct LedgerCopy {
    std::array<CardUsage, guard::kMaxDevices> cards{};
    int processes = 0;                // slots that are held
    std::vector<SlotClaim> claims;    // of those, without the one that is shared
    bool spilled = false;             // all are held, and processes share the last one
    std::vector<ProcessUse> working;  // those of them that have charged anything
    std::uint64_t uncovered = 0;
    std::uint64_t unknown_frees = 0;
};

// Makes the file where it is missing, of the right size and writable for every user of the
// container.
Status make_ledger(const std::filesystem::path& path);

// kNotFound when it is missing, kInvalid when it has another size or is of another version
// (tampered with, or never used by a guard of ours). A new ledger is all zero.
Result<LedgerCopy> read_ledger(const std::filesystem::path& path);

// The ledger's first page, which tells whether compute is wanted: far less than all of it.
using LedgerMark = std::array<std::uint64_t, guard::kMaxDevices>;
// Has a card been charged, or a process been held back, since the mark was taken? Takes the new
// one. False when the ledger cannot be read.
bool ledger_moved(const std::filesystem::path& path, LedgerMark& mark);

}  // namespace egpu::isolation
