// The two files that agent and guard share for one allocation, in one folder of the container.
//
//   limits  4 KiB, written by the agent, mapped read-only by containers:
//           what the container may use.
//   ledger  written by the container's processes, read by the agent: what they use.
//           UNTRUSTED: whoever reads it must bound every index and number;
//           nothing in it can raise a limit.
//
// Both are plain structs in native byte order, versioned by magic and major number, and valid after
// a crash of any writer at any store:
//
//   limits  holds two bodies. The writer fills the one that is not current, then publishes
//           it by one store of `generation`. A reader copies body[generation & 1] and accepts
//           the copy when `generation` has not changed since: it never waits for the writer.
//   ledger  each word is changed by one atomic operation, in an order in which every prefix
//           over-counts.
//
// Times are nanoseconds of CLOCK_MONOTONIC; memory is bytes unless the name says otherwise. New
// fields take reserved space and raise struct_size; kAbiMajor changes only when old readers would
// read wrong values.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "guard/compute/policy.h"
#include "guard/compute/words.h"

namespace egpu::guard {

inline constexpr char kFolderInContainer[] = "/run/edge-gpu";
inline constexpr char kLimitsFile[] = "limits";
inline constexpr char kLedgerFile[] = "ledger";

inline constexpr std::uint32_t kAbiMajor = 1;
inline constexpr unsigned kMaxDevices = 16;
inline constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

using Word32 = std::atomic<std::uint32_t>;
using Word64 = std::atomic<std::uint64_t>;
static_assert(Word32::is_always_lock_free && Word64::is_always_lock_free);

// ---- limits ----

inline constexpr std::uint64_t kLimitsMagic = 0x314d494c55504745;  // "EGPULIM1"

// DeviceLimits::flags
inline constexpr std::uint32_t kChargeOverhead = 1;     // overhead_bytes counts against the quota
inline constexpr std::uint32_t kManagedOvercommit = 2;  // managed memory may use mem_soft
inline constexpr std::uint32_t kSpatial = 4;  // kernels of several processes run beside each other

// One card (or MIG instance) that the container was given. The position in the array is the
// device's index in the ledger, too; it does not change while the allocation lives.
struct DeviceLimits {
    std::uint8_t uuid[16];   // as cuDeviceGetUuid_v2 tells it (of the MIG instance where MIG is on)
    std::uint64_t mem_hard;  // kUnlimited: no quota
    std::uint64_t mem_soft;  // with kManagedOvercommit the quota of managed memory; else ignored
    // In use but in nobody's ledger (contexts, modules, ...), as the agent measures it.
    std::uint64_t overhead_bytes;
    // Compute: the fields of ComputePolicy (compute/policy.h), in its units.
    std::uint64_t burst_ns;
    std::uint32_t mode;  // ComputeMode; an unknown number counts as hard
    std::uint32_t share_ppm;
    std::uint32_t rate_ppm;
    std::uint32_t gain_ppm;
    std::uint32_t contention_ppm;
    std::uint32_t gated;  // the priority gate
    std::uint32_t flags;  // kChargeOverhead, ...
    std::uint32_t neighbours;
    std::uint8_t reserved[32];
};
static_assert(sizeof(DeviceLimits) == 112);
static_assert(
    offsetof(DeviceLimits, mem_hard) == 16 && offsetof(DeviceLimits, overhead_bytes) == 32
);
static_assert(offsetof(DeviceLimits, mode) == 48 && offsetof(DeviceLimits, flags) == 72);
static_assert(offsetof(DeviceLimits, neighbours) == 76);

// LimitsBody::flags: notes of the agent to itself, for when it starts anew and the API server is
// away; the guard ignores them.
inline constexpr std::uint32_t kGuaranteed = 1;  // best-effort neighbours wait for it
inline constexpr std::uint32_t kBestEffort = 2;  // waits for guaranteed neighbours

struct LimitsBody {
    std::uint32_t device_count;  // 1..kMaxDevices
    std::uint32_t flags;         // kGuaranteed, ...
    std::uint8_t reserved[56];
    DeviceLimits devices[kMaxDevices];
};
static_assert(sizeof(LimitsBody) == 1856 && offsetof(LimitsBody, devices) == 64);

struct LimitsPage {
    std::uint64_t magic;        // kLimitsMagic
    std::uint32_t abi_major;    // kAbiMajor
    std::uint32_t struct_size;  // sizeof(LimitsPage) of the writer
    Word32 generation;          // body[generation & 1] is current
    std::uint32_t reserved0;
    Word64 heartbeat_ns;  // the agent's last visit
    std::uint8_t reserved[32];
    LimitsBody body[2];
};
static_assert(sizeof(LimitsPage) == 3776 && offsetof(LimitsPage, generation) == 16);
static_assert(offsetof(LimitsPage, heartbeat_ns) == 24 && offsetof(LimitsPage, body) == 64);
inline constexpr std::size_t kLimitsFileSize = 4096;
static_assert(sizeof(LimitsPage) <= kLimitsFileSize);

// ---- ledger ----

inline constexpr std::uint64_t kLedgerMagic = 0x3147444c55504745;  // "EGPULDG1"
inline constexpr unsigned kSlots = 256;  // the last one is shared by processes that found no other
inline constexpr unsigned kSpillSlot = kSlots - 1;

// DeviceTotals::word = epoch << kUnitBits | units. The epoch changes with every update, so that
// whoever recomputes the sum can tell that nothing happened meanwhile.
inline constexpr unsigned kUnitBits = 36;
inline constexpr std::uint64_t kUnitBytes = 512;
inline constexpr std::uint64_t kUnitMask = (std::uint64_t{1} << kUnitBits) - 1;

struct alignas(64) DeviceTotals {
    Word64 word;        // reserved or allocated by all processes of the container
    Word64 peak_units;  // highest number of units seen
    Word64 refused;     // allocations refused for the quota
    Word64
        audit_repairs;  // audits that found the sum too high (processes that died) and put it right
    std::uint8_t reserved[32];
};
static_assert(sizeof(DeviceTotals) == 64);

// ProcessSlot::live, a robust futex word: who holds the slot.
//   0                   free
//   <tid>               held; the kernel sets kOwnerDied when that thread ends
//                       (exit, SIGKILL, execve)
//   kHeldByPid | <pid>  held without a helper thread; alive while that process is
//                       (pid, start time)
//   ... | kOwnerDied    its process is gone; used[] no longer counts, and the slot
//                       may be claimed
inline constexpr std::uint32_t kOwnerDied = 0x40000000;  // the kernel's FUTEX_OWNER_DIED
inline constexpr std::uint32_t kTidMask = 0x3fffffff;    // the kernel's FUTEX_TID_MASK
inline constexpr std::uint32_t kHeldByPid = 0x20000000;

// As the kernel's struct robust_list_head, with the one list node behind it. Pointers of the
// holder's address space: no one else may follow them.
struct RobustList {
    void* head_next;
    long futex_offset;
    void* pending;
    void* node_next;
};
static_assert(sizeof(RobustList) == 32);

struct ProcessStats {
    Word64 refused;          // allocations refused for the quota
    Word64 unknown_frees;    // frees of pointers that the guard did not see allocated
    Word64 uncovered;        // names of allocating or launching functions handed out without a hook
    Word64 inconsistencies;  // the guard found its own books wrong and saturated
    Word64 export_tables;    // calls of cuGetExportTable, whose functions have no hooks
    std::uint8_t reserved[88];
};
static_assert(sizeof(ProcessStats) == 128);

struct alignas(64) ProcessSlot {
    Word32 live;
    std::uint32_t claims;  // how often the slot was claimed
    // live << 32 | pid of the holder in its own pid namespace. Written last of the texts: they are
    // this holder's when the upper half is `live`, and left by the one before it otherwise.
    Word64 holder;
    Word64 start_time;     // field 22 of /proc/self/stat; 0: not known
    Word64 pid_namespace;  // inode of the holder's pid namespace; 0: not known
    RobustList robust;
    Word64 used[kMaxDevices];  // bytes; changed by the holder only
    ProcessStats stats;
    ComputeCounters compute[kMaxDevices];
    // When someone first saw that the holder had died; its memory counts until its process is gone,
    // too, because the driver gives it back late in the process's exit. After an execve that is
    // bounded by time.
    Word64 died_ns;
    std::uint8_t reserved[184];
};
static_assert(sizeof(ProcessSlot) == 1536);
static_assert(offsetof(ProcessSlot, robust) == 32 && offsetof(ProcessSlot, used) == 64);
static_assert(offsetof(ProcessSlot, stats) == 192 && offsetof(ProcessSlot, compute) == 320);

// A process's stock of device memory: freed by it, but still reserved for it, so that its next
// allocation of that size touches no line that other processes or threads write. Whoever is about
// to be refused takes it (memory_account.h), so nobody is refused for it. Threads use different
// shards; a shard's words are
//   reserved units << kSpareBits | units of those that are spare
// and what is reserved here counts beside used[] of the slot with the same index.
inline constexpr unsigned kShards = 4;
inline constexpr unsigned kSpareBits = 28;
inline constexpr std::uint64_t kSpareMask = (std::uint64_t{1} << kSpareBits) - 1;
inline constexpr std::uint64_t kSpareUnits = (std::uint64_t{16} << 20U) / kUnitBytes;  // at most

struct alignas(128) ProcessStock {
    struct alignas(128) Shard {
        Word64 word[kMaxDevices];
    };
    Shard shards[kShards];
};
static_assert(sizeof(ProcessStock) == 512);

struct alignas(4096) Ledger {
    Word64 magic;             // kLedgerMagic; 0: new, the first process writes it
    std::uint32_t abi_major;  // kAbiMajor (0 in a new file)
    std::uint32_t struct_size;
    Word64 spilled;       // processes that shared kSpillSlot
    Word32 slots_so_far;  // slots from this one on were never claimed
    std::uint8_t reserved[228];
    DeviceTotals totals[kMaxDevices];
    ComputeBucket compute[kMaxDevices];
    std::uint8_t reserved_to_page[1792];
    ProcessSlot slots[kSlots];
    ProcessStock stocks[kSlots];  // stocks[i] belongs to slots[i]
};
static_assert(offsetof(Ledger, totals) == 256 && offsetof(Ledger, compute) == 1280);
static_assert(offsetof(Ledger, slots) == 4096);
static_assert(offsetof(Ledger, stocks) == 4096 + kSlots * 1536);
static_assert(sizeof(Ledger) == 4096 + kSlots * (1536 + 512));

}  // namespace egpu::guard
