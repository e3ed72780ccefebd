// The file that the processes of a simulated node share: its layout and its locks. Internal to the
// sources of shared_node.h.
#pragma once

#include <atomic>
#include <cstdint>

#include <pthread.h>
#include <sys/types.h>

#include "testing/nvml/shared_node.h"

namespace egpu::testing {

inline constexpr unsigned kRing = 256;

struct ProcessIdentity {
    std::uint32_t pid;  // in its own namespace
    std::uint64_t start_time;
    std::uint64_t pid_namespace;
    bool operator==(const ProcessIdentity&) const = default;
};

struct SharedSlot {
    std::atomic<std::uint32_t> claimed;
    ProcessIdentity who;
};

struct SharedSample {
    std::uint64_t time_us;
    std::uint32_t slot;
    std::uint32_t pid;  // as the sampled process sees itself
    std::uint32_t percent;
    std::uint32_t unused;
};

// By slot: a scan over processes reads few cache lines.
struct SharedUnitMemory {
    std::atomic<std::uint64_t> bytes[kSharedSlots];
    std::atomic<std::uint32_t> contexts[kSharedSlots];
};

struct SharedFile {
    std::uint64_t magic;
    std::uint64_t size;
    pthread_mutex_t mutex;
    std::atomic<std::uint64_t> reaped;      // CLOCK_MONOTONIC of the last look for dead processes
    std::atomic<std::uint32_t> slots_seen;  // no slot from here on was ever claimed
    std::atomic<std::uint32_t> unit_made[kSharedUnits];
    SharedUnitMemory units[kSharedUnits];
    SharedSlot slots[kSharedSlots];
};

// Lies behind the SharedFile, at unit_offset(). Most of it is the model's queues, untouched pages
// of a sparse file until they are used.
struct SharedUnit {
    pthread_mutex_t mutex;
    std::uint64_t sampled;  // CLOCK_MONOTONIC of the last sample
    std::uint32_t percent;
    std::uint32_t next;                 // in the ring
    std::int32_t client[kSharedSlots];  // in the model, + 1
    double busy_before[kSharedSlots];   // at the last sample
    SharedSample ring[kRing];
    SmModel model;
};

inline constexpr off_t kPage = 4096;
constexpr off_t rounded(std::size_t size) {
    return (static_cast<off_t>(size) + kPage - 1) / kPage * kPage;
}
constexpr off_t unit_offset(unsigned unit) {
    return rounded(sizeof(SharedFile)) + static_cast<off_t>(unit) * rounded(sizeof(SharedUnit));
}
inline constexpr off_t kFileSize = unit_offset(kSharedUnits);

// Locked bytes lie behind the content.
inline constexpr off_t kInitByte = kFileSize;
inline constexpr off_t kSlotBytes = kInitByte + 1;

// fcntl locks on a byte of the file; they go with the process. False: not got.
bool lock_byte(int fd, off_t at, bool wait);
void unlock_byte(int fd, off_t at);

// Between processes; one that dies inside leaves it usable.
void make_mutex(pthread_mutex_t* mutex);
void lock_mutex(pthread_mutex_t* mutex);

// Everything under it is valid at any instant: totals are sums over slots, so a process that dies
// inside leaves nothing to repair.
class SharedNode::Lock {
  public:
    explicit Lock(SharedFile* file) : file_(file) { lock_mutex(&file_->mutex); }
    ~Lock() { pthread_mutex_unlock(&file_->mutex); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    SharedFile* file_;
};

}  // namespace egpu::testing
