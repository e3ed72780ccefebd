// The guard of this process: what it found at the first successful cuInit, and the quota questions
// its hooks ask.
//
// Nothing happens before that moment: no file is opened, no thread made. A place in the common
// accounts is claimed when the first hook needs it (a context, an allocation), so that programs
// that only look at the cards cost next to nothing. All state is constant-initialised.
#pragma once

#include <cstdint>

#include "guard/block_map.h"
#include "guard/cuda_abi.h"
#include "guard/pages.h"

namespace egpu::guard {

inline constexpr int kMaxOrdinals = 64;
inline constexpr int kNotListed = -1;

enum class Stage : std::uint32_t {
    asleep = 0,    // no successful cuInit yet
    starting = 1,  // a thread is setting up
    open = 2,      // not injected: everything passes through
    refused = 3,   // injected, but the limits cannot be read: CUDA does not start
    ready = 4,     // both files are mapped and the cards known; nothing can be charged yet
    claiming = 5,  // a thread is claiming this process's place in the accounts
    active = 6,
};

class Guard {
  public:
    // After the driver's cuInit has succeeded, from any thread, any number of times. Returns what
    // cuInit should answer. Threads that come while another one sets up wait for it (bounded: file
    // reads and one thread start).
    cuda::CUresult on_init();
    // For hooks that charge, launch or make contexts: true when this process is limited, and has
    // its place in the accounts by then. Also where the hook comes first in a process whose cuInit
    // was not seen. One load when it is set up.
    bool active() {
        const Stage stage = stage_.load(std::memory_order_acquire);
        if (stage == Stage::active) [[likely]]
            return true;
        if (stage == Stage::open) return false;
        return wake(Stage::active);
    }
    // For hooks that only tell of the limits.
    bool ready() {
        const Stage stage = stage_.load(std::memory_order_acquire);
        return stage >= Stage::ready || (stage != Stage::open && wake(Stage::ready));
    }
    bool refused() const { return stage_.load(std::memory_order_acquire) == Stage::refused; }

    // Index in the pages of a device ordinal; kNotListed when the container was not given that
    // card: it has no quota there.
    int index_of(cuda::CUdevice device) const {
        return device >= 0 && device < kMaxOrdinals ? index_of_[device] : kNotListed;
    }
    int ordinal_of(int index) const;
    // The only card that the driver shows, when the container was given it; else -1. Every context
    // is on it.
    cuda::CUdevice sole_device() const { return sole_device_; }

    // What allocations of this process may bring the container's total to, now.
    std::uint64_t limit(int index, bool managed = false);
    // The quota without what the agent measured beside it: what is reported as the size of the
    // card.
    std::uint64_t quota(int index);
    std::uint64_t overhead(int index);
    DeviceLimits limits_now(int index);
    // What the environment of this process takes off its compute share.
    void tighten_compute(int index, ComputePolicy& policy) const;

    // Reserves for this process; on refusal memory that pools hold without need is given back,
    // once, and the question asked again. False: CUDA_ERROR_OUT_OF_MEMORY.
    bool reserve(int index, std::uint64_t bytes, bool managed = false);
    void refund(int index, std::uint64_t bytes);
    // The same for memory that programs allocate and free all the time: what is freed is kept in
    // the process's stock for the next allocation. `shard` is to be remembered with the block.
    bool reserve_stocked(int index, std::uint64_t bytes, bool managed, std::uint8_t& shard);
    void refund(const Block& block);
    void add_unconditionally(int index, std::uint64_t bytes);
    // By all processes of the container, without what is spare in their stocks.
    std::uint64_t used(int index) const;

    void count_unknown_free();
    void count_uncovered();
    void count_export_table();

    Ledger* ledger() { return ledger_; }
    const LimitsPage* limits_page() { return limits_; }
    ProcessSlot* slot() { return &ledger_->slots[slot_]; }

    // Device addresses; arrays and executable graphs (addresses of the driver's objects); physical
    // handles.
    BlockMap addresses;
    BlockMap objects;
    BlockMap handles;

    void after_fork_in_child();

  private:
    bool wake(Stage wanted);
    Stage set_up();
    Stage claim();
    void count(Word64 ProcessStats::*counter, std::atomic<std::uint64_t>& before);
    void find_devices();

    std::atomic<Stage> stage_{Stage::asleep};
    std::atomic<bool> at_fork_{false};
    // Counted before there is a slot: the CUDA runtime asks for all it may need before it makes a
    // context.
    std::atomic<std::uint64_t> uncovered_before_{0};
    std::atomic<std::uint64_t> export_tables_before_{0};
    const LimitsPage* limits_ = nullptr;
    Ledger* ledger_ = nullptr;
    unsigned slot_ = kSpillSlot;
    std::int8_t index_of_[kMaxOrdinals] = {};
    cuda::CUdevice sole_device_ = -1;
    std::atomic<std::uint64_t> tightened_[kMaxDevices] = {};  // by environment; kUnlimited: not
    std::uint32_t tightened_ppm_[kMaxDevices] = {};  // compute, by environment; kWholePpm: not
    DeviceLimits last_[kMaxDevices] = {};
    Lock last_lock_;
};

extern Guard guard;

}  // namespace egpu::guard
