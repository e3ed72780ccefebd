#include "guard/guard.h"

#include <cstdlib>
#include <cstring>

#include <pthread.h>
#include <sched.h>

#include "guard/compute_hooks.h"
#include "guard/driver.h"
#include "guard/green_contexts.h"
#include "guard/limits.h"
#include "guard/log_line.h"
#include "guard/memory_stock.h"
#include "guard/memory_vmm.h"
#include "guard/page_files.h"
#include "guard/pools.h"
#include "guard/process_slot.h"

namespace egpu::guard {

constinit Guard guard;
constinit Driver driver;

namespace {

void child() {
    guard.after_fork_in_child();
}

// The value of name<suffix>; environment variables may tighten what the page says, never loosen it.
const char* variable(const char* name, int suffix) {
    char full[64];
    const std::size_t length = std::strlen(name);
    std::memcpy(full, name, length + 1);
    if (suffix >= 0) {
        full[length] = '_';
        if (suffix >= 10) {
            full[length + 1] = static_cast<char>('0' + suffix / 10);
            full[length + 2] = static_cast<char>('0' + suffix % 10);
            full[length + 3] = '\0';
        } else {
            full[length + 1] = static_cast<char>('0' + suffix);
            full[length + 2] = '\0';
        }
    }
    return std::getenv(full);
}

std::uint64_t size_variable(const char* name, int suffix) {
    const char* text = variable(name, suffix);
    std::uint64_t bytes = 0;
    // HAMi reads 0 as "no limit".
    return text != nullptr && parse_size(text, bytes) && bytes != 0 ? bytes : kUnlimited;
}

std::uint32_t percent_variable(const char* name, int suffix) {
    const char* text = variable(name, suffix);
    std::uint64_t percent = 0;
    if (text == nullptr || !parse_size(text, percent) || percent == 0 || percent >= 100)
        return kWholePpm;
    return static_cast<std::uint32_t>(percent) * 10'000;
}

}  // namespace

cuda::CUresult Guard::on_init() {
    ready();
    return refused() ? cuda::CUDA_ERROR_SYSTEM_NOT_READY : cuda::CUDA_SUCCESS;
}

// Goes through the stages up to `wanted`; true when it is reached. One thread does each step, those
// that need its outcome wait for it.
bool Guard::wake(Stage wanted) {
    for (;;) {
        Stage seen = stage_.load(std::memory_order_acquire);
        if (seen == Stage::open || seen == Stage::refused) return false;
        if (seen >= wanted) return true;
        if (seen == Stage::starting || seen == Stage::claiming) {
            sched_yield();
            continue;
        }
        const bool asleep = seen == Stage::asleep;
        if (asleep) {
            // A hook may come before cuInit, and whatever it calls fails in the driver: not the
            // moment to set up.
            int count = 0;
            if (driver.DeviceGetCount(&count) != cuda::CUDA_SUCCESS) return false;
            // Before anything else: a thread may fork while another one sets up.
            if (!at_fork_.exchange(true)) pthread_atfork(nullptr, nullptr, child);
        }
        const Stage next = asleep ? Stage::starting : Stage::claiming;
        if (stage_.compare_exchange_strong(seen, next, std::memory_order_acq_rel)) {
            stage_.store(asleep ? set_up() : claim(), std::memory_order_release);
        }
    }
}

Stage Guard::set_up() {
    int folder = -1;
    switch (open_folder(folder)) {
        case Folder::absent:
            return Stage::open;
        case Folder::forbidden:
            log_line(
                "the folder with this container's limits cannot be opened, CUDA is refused: ",
                folder_path()
            );
            return Stage::refused;
        case Folder::there:
            break;
    }
    const char* wrong = nullptr;
    limits_ = map_limits(folder, wrong);
    if (limits_ != nullptr) ledger_ = map_ledger(folder, /*writable=*/true);
    close_fd(folder);
    if (limits_ == nullptr) {
        log_line("this container's limits cannot be used, CUDA is refused: ", wrong);
        return Stage::refused;
    }
    if (ledger_ == nullptr) {
        // Each process gets the whole quota for itself: less than was asked for, but still a limit.
        // The agent sees the missing ledger.
        log_line("the container's common accounts cannot be used, each process is limited by itself"
        );
        ledger_ = private_ledger();
    }
    if (ledger_ == nullptr) {
        log_line("no memory for this process's accounts, CUDA is refused");
        return Stage::refused;
    }
    find_devices();
    return Stage::ready;
}

Stage Guard::claim() {
    slot_ = claim_slot(*ledger_).slot;
    // What a dead holder left in this slot is zeroed; other dead processes' shares are found along
    // the way.
    for (unsigned i = 0; i < kMaxDevices; ++i) {
        if (ordinal_of(static_cast<int>(i)) >= 0) audit(*ledger_, i, marked_holder_is_gone);
    }
    slot()->stats.uncovered.fetch_add(uncovered_before_.exchange(0), std::memory_order_relaxed);
    slot()->stats.export_tables.fetch_add(
        export_tables_before_.exchange(0), std::memory_order_relaxed
    );
    set_up_compute();
    return Stage::active;
}

void Guard::find_devices() {
    for (std::atomic<std::uint64_t>& bytes : tightened_)
        bytes.store(kUnlimited, std::memory_order_relaxed);
    for (std::uint32_t& ppm : tightened_ppm_) ppm = kWholePpm;
    for (std::int8_t& index : index_of_) index = kNotListed;
    int count = 0;
    driver.DeviceGetCount(&count);
    if (count > kMaxOrdinals) count = kMaxOrdinals;
    sole_device_ = -1;
    for (int ordinal = 0; ordinal < count; ++ordinal) {
        cuda::CUdevice device = 0;
        cuda::CUuuid uuid{};
        if (driver.DeviceGet(&device, ordinal) != cuda::CUDA_SUCCESS || device < 0 ||
            device >= kMaxOrdinals || driver.DeviceGetUuid(&uuid, device) != cuda::CUDA_SUCCESS) {
            continue;
        }
        const int index = find_device(*limits_, uuid.bytes);
        if (index < 0) {
            log_line("a card is visible that this container was not given: it has no memory there");
            continue;
        }
        index_of_[device] = static_cast<std::int8_t>(index);
        if (count == 1) sole_device_ = device;
        const std::uint64_t all = size_variable("CUDA_DEVICE_MEMORY_LIMIT", -1);
        const std::uint64_t one = size_variable("CUDA_DEVICE_MEMORY_LIMIT", ordinal);
        tightened_[index].store(all < one ? all : one, std::memory_order_relaxed);
        const std::uint32_t every = percent_variable("CUDA_DEVICE_SM_LIMIT", -1);
        const std::uint32_t single = percent_variable("CUDA_DEVICE_SM_LIMIT", ordinal);
        tightened_ppm_[index] = every < single ? every : single;
        read_device(*limits_, static_cast<unsigned>(index), last_[index]);
    }
}

int Guard::ordinal_of(int index) const {
    for (int i = 0; i < kMaxOrdinals; ++i) {
        if (index_of_[i] == index) return i;
    }
    return -1;
}

DeviceLimits Guard::limits_now(int index) {
    DeviceLimits now;
    if (read_device(*limits_, static_cast<unsigned>(index), now)) return now;
    // The agent is writing without pause: what was true a moment ago.
    const Held held(last_lock_);
    return last_[index];
}

std::uint64_t Guard::limit(int index, bool managed) {
    if (index < 0) return 0;
    MemoryLimits now{};
    if (!read_memory(*limits_, static_cast<unsigned>(index), now))
        now = memory_part(limits_now(index));
    const std::uint64_t own = tightened_[index].load(std::memory_order_relaxed);
    if (own < now.hard) now.hard = own;
    if (own < now.soft) now.soft = own;
    return effective_limit(now, managed);
}

std::uint64_t Guard::quota(int index) {
    if (index < 0) return 0;
    const std::uint64_t own = tightened_[index].load(std::memory_order_relaxed);
    const std::uint64_t hard = limits_now(index).mem_hard;
    return own < hard ? own : hard;
}

std::uint64_t Guard::overhead(int index) {
    if (index < 0) return 0;
    const DeviceLimits now = limits_now(index);
    return (now.flags & kChargeOverhead) != 0 ? now.overhead_bytes : 0;
}

void Guard::tighten_compute(int index, ComputePolicy& policy) const {
    const std::uint32_t own = tightened_ppm_[index];
    if (own >= kWholePpm) return;
    if (policy.mode == ComputeMode::kOff) policy.mode = ComputeMode::kHard;
    if (own < policy.share_ppm) policy.share_ppm = own;
    if (own < policy.rate_ppm) policy.rate_ppm = own;
}

bool Guard::reserve(int index, std::uint64_t bytes, bool managed) {
    if (index < 0) return bytes == 0;
    const auto device = static_cast<unsigned>(index);
    const std::uint64_t now = limit(index, managed);
    if (try_reserve(*ledger_, slot_, device, bytes, now) ||
        reserve_with_spare(*ledger_, slot_, device, bytes, now)) {
        return true;
    }
    release_idle_pools(index);
    return egpu::guard::reserve(
        *ledger_, slot_, device, bytes, limit(index, managed), holder_is_gone
    );
}

void Guard::refund(int index, std::uint64_t bytes) {
    if (index >= 0) egpu::guard::refund(*ledger_, slot_, static_cast<unsigned>(index), bytes);
}

bool Guard::reserve_stocked(int index, std::uint64_t bytes, bool managed, std::uint8_t& shard) {
    if (index < 0) return bytes == 0;
    const auto device = static_cast<unsigned>(index);
    shard = static_cast<std::uint8_t>(own_shard());
    // The total is read, not written: threads and processes that only cycle through their stocks do
    // not disturb each other.
    if (used_bytes(*ledger_, device) <= limit(index, managed) &&
        take_spare(*ledger_, slot_, shard, device, bytes)) {
        return true;
    }
    if (!reserve(index, bytes, managed)) return false;
    move_to_stock(*ledger_, slot_, shard, device, bytes);
    return true;
}

void Guard::refund(const Block& block) {
    if (block.device < 0) return;
    const auto device = static_cast<unsigned>(block.device);
    if (block.shard >= kShards) {
        refund(block.device, block.size);
    } else if (!keep_spare(*ledger_, slot_, block.shard, device, block.size)) {
        refund_stocked(*ledger_, slot_, block.shard, device, block.size);
    }
}

void Guard::add_unconditionally(int index, std::uint64_t bytes) {
    if (index >= 0)
        egpu::guard::add_unconditionally(*ledger_, slot_, static_cast<unsigned>(index), bytes);
}

std::uint64_t Guard::used(int index) const {
    if (index < 0) return 0;
    const std::uint64_t spare = spare_bytes(*ledger_, static_cast<unsigned>(index));
    const std::uint64_t all = used_bytes(*ledger_, static_cast<unsigned>(index));
    return all > spare ? all - spare : 0;
}

void Guard::count_unknown_free() {
    slot()->stats.unknown_frees.fetch_add(1, std::memory_order_relaxed);
}

void Guard::count(Word64 ProcessStats::*counter, std::atomic<std::uint64_t>& before) {
    const bool active = stage_.load(std::memory_order_acquire) == Stage::active;
    (active ? slot()->stats.*counter : before).fetch_add(1, std::memory_order_relaxed);
}

void Guard::count_uncovered() {
    count(&ProcessStats::uncovered, uncovered_before_);
}

void Guard::count_export_table() {
    count(&ProcessStats::export_tables, export_tables_before_);
}

// The driver does not work in a child of a process that used it; what the parent holds is the
// parent's. The child starts anew with its own cuInit, should that ever succeed.
void Guard::after_fork_in_child() {
    addresses.forget();
    objects.forget();
    handles.forget();
    forget_pools();
    forget_vmm();
    forget_contexts();
    forget_green_contexts();
    forget_compute();
    last_lock_.reset();
    if (ledger_ != nullptr) unmap(ledger_);
    if (limits_ != nullptr) unmap(limits_);
    ledger_ = nullptr;
    limits_ = nullptr;
    slot_ = kSpillSlot;
    stage_.store(Stage::asleep, std::memory_order_release);
}

}  // namespace egpu::guard
