#include "guard/pool_charge.h"

#include "guard/driver.h"
#include "guard/hook_table.h"
#include "guard/memory_account.h"
#include "guard/pools.h"
#include "guard/relaxed_capture.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

constexpr unsigned kMaxPools = 256;

constinit Reserved pools[kMaxPools];
constinit std::atomic<unsigned> pool_count{0};
constinit Reserved graph_memory[kMaxOrdinals];
constinit Lock table_lock;
constinit std::atomic<std::uint32_t> stale_pools{0};

std::uint64_t round_up(std::uint64_t bytes, std::uint64_t to) {
    return bytes / to * to + (bytes % to != 0 ? to : 0);
}

// false: the driver does not say (too old, or the pool is going).
bool read_reserved(const Reserved& from, std::uint64_t& bytes) {
    std::uint64_t value = 0;
    const CUresult result = from.graph
                                ? driver.DeviceGetGraphMemAttribute(
                                      from.device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &value
                                  )
                                : driver.MemPoolGetAttribute(
                                      from.pool.load(std::memory_order_relaxed),
                                      CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
                                      &value
                                  );
    bytes = round_up(value, kUnitBytes);
    return result == CUDA_SUCCESS;
}

// A pool that the program did not make itself: the default or current one of a card.
Reserved* adopt(CUmemoryPool handle) {
    for (CUdevice device = 0; device < kMaxOrdinals; ++device) {
        CUmemoryPool theirs = nullptr;
        if (driver.DeviceGetDefaultMemPool(&theirs, device) != CUDA_SUCCESS) break;
        if (theirs == handle) return add_pool(handle, device, guard.index_of(device));
    }
    const Place place = current_place();
    return place.known ? add_pool(handle, place.device, place.index) : nullptr;
}

}  // namespace

void put_right(Reserved& pool) {
    std::uint64_t now = 0;
    if (pool.index < 0 || pool.destroyed || !read_reserved(pool, now)) return;
    if (now < pool.charged) {
        guard.refund(pool.index, pool.charged - now);
    } else if (now > pool.charged) {
        guard.add_unconditionally(pool.index, now - pool.charged);
    }
    pool.charged = now;
    if (pool.stale.exchange(false)) stale_pools.fetch_sub(1, std::memory_order_relaxed);
}

void mark_stale(Reserved& pool) {
    if (!pool.stale.exchange(true)) stale_pools.fetch_add(1, std::memory_order_relaxed);
}

void trim(Reserved& pool) {
    if (pool.destroyed) return;
    const RelaxedCapture relaxed;
    if (pool.graph) {
        using Trim = CUresult (*)(CUdevice);
        real_as<Trim>(HookId::cuDeviceGraphMemTrim)(pool.device);
        pool.trims.fetch_add(1, std::memory_order_relaxed);
    } else {
        using Trim = CUresult (*)(CUmemoryPool, std::size_t);
        real_as<Trim>(HookId::cuMemPoolTrimTo)(pool.pool.load(std::memory_order_relaxed), 0);
    }
    put_right(pool);
}

void synchronise(CUstream stream, Null null) {
    if (capture_of(stream, null) != Capture::none) return;
    const RelaxedCapture relaxed;
    using Sync = CUresult (*)(CUstream);
    real_as<
        Sync>(null == Null::legacy ? HookId::cuStreamSynchronize : HookId::cuStreamSynchronize_ptsz)(
        stream
    );
}

Reserved* find_pool(CUmemoryPool handle) {
    const unsigned count = pool_count.load(std::memory_order_acquire);
    for (unsigned i = 0; i < count; ++i) {
        if (pools[i].pool.load(std::memory_order_acquire) == handle && !pools[i].destroyed)
            return &pools[i];
    }
    return nullptr;
}

Reserved* add_pool(CUmemoryPool handle, CUdevice device, int index) {
    const Held held(table_lock);
    if (Reserved* there = find_pool(handle); there != nullptr) return there;
    const unsigned count = pool_count.load(std::memory_order_relaxed);
    Reserved* to = nullptr;
    for (unsigned i = 0; i < count && to == nullptr; ++i) {
        if (pools[i].pool.load(std::memory_order_relaxed) == nullptr) to = &pools[i];
    }
    if (to == nullptr) {
        if (count == kMaxPools) return nullptr;
        to = &pools[count];
    }
    to->device = device;
    to->index = index;
    to->destroyed = false;
    to->charged = 0;
    to->live.store(0, std::memory_order_relaxed);
    to->pool.store(handle, std::memory_order_release);
    if (to == &pools[count]) pool_count.store(count + 1, std::memory_order_release);
    return to;
}

Reserved* pool_of(CUmemoryPool handle) {
    Reserved* pool = find_pool(handle);
    return pool != nullptr ? pool : adopt(handle);
}

bool make_room(Reserved& pool, std::uint64_t bytes, CUstream stream, Null null) {
    if (pool.index == kNotCharged || guard.reserve(pool.index, bytes)) return true;
    if (pool.index < 0) return false;
    trim(pool);
    if (guard.reserve(pool.index, bytes)) return true;
    if (pool.charged == 0) return false;
    synchronise(stream, null);
    trim(pool);
    return guard.reserve(pool.index, bytes);
}

bool settle(Reserved& pool, std::uint64_t provisional) {
    if (pool.index == kNotCharged) return true;
    std::uint64_t now = 0;
    if (!read_reserved(pool, now)) {
        pool.charged += provisional;  // too much rather than too little
        return true;
    }
    const std::uint64_t have = pool.charged + provisional;
    if (now <= have) {
        guard.refund(pool.index, have - now);
        pool.charged = now;
        return true;
    }
    if (now - pool.charged > pool.grain) pool.grain = now - pool.charged;
    pool.charged = have;
    if (!guard.reserve(pool.index, now - have)) return false;
    pool.charged = now;
    return true;
}

std::uint64_t growth_for(const Reserved& pool, std::uint64_t bytes) {
    return bytes > kUnlimited / 2 ? bytes : round_up(bytes, pool.grain);
}

Reserved& graph_memory_of(CUdevice device) {
    Reserved& memory = graph_memory[device];
    memory.graph = true;
    memory.device = device;
    memory.index = guard.index_of(device);
    return memory;
}

std::uint64_t number_of(const Reserved& pool) {
    return static_cast<std::uint64_t>(&pool - pools);
}

Reserved& pool_with(std::uint64_t number) {
    return pools[number];
}

void drop_if_empty(Reserved& pool) {
    if (!pool.destroyed || pool.live.load(std::memory_order_acquire) != 0) return;
    guard.refund(pool.index, pool.charged);
    pool.charged = 0;
    pool.pool.store(nullptr, std::memory_order_release);
}

void release_idle_pools(int index) {
    const unsigned count = pool_count.load(std::memory_order_acquire);
    const auto visit = [index](Reserved& pool) {
        if (pool.index != index || pool.charged == 0 || !pool.lock.try_lock()) return;
        trim(pool);
        pool.lock.unlock();
    };
    for (unsigned i = 0; i < count; ++i) visit(pools[i]);
    for (Reserved& memory : graph_memory) visit(memory);
}

void refresh_stale_pools() {
    if (stale_pools.load(std::memory_order_relaxed) == 0) return;
    const unsigned count = pool_count.load(std::memory_order_acquire);
    for (unsigned i = 0; i < count; ++i) {
        if (!pools[i].stale.load(std::memory_order_relaxed) || !pools[i].lock.try_lock()) continue;
        put_right(pools[i]);
        pools[i].lock.unlock();
    }
}

void pool_block_freed(const Block& block, bool done) {
    Reserved& pool = pools[block.owner];
    mark_stale(pool);
    pool.live.fetch_sub(1, std::memory_order_acq_rel);
    if (!done && !pool.destroyed) return;
    const Held held(pool.lock);
    if (done) put_right(pool);
    drop_if_empty(pool);
}

void forget_pools() {
    table_lock.reset();
    const auto forget = [](Reserved& pool) {
        pool.lock.reset();
        pool.pool.store(nullptr, std::memory_order_relaxed);
        pool.index = kNotListed;
        pool.destroyed = false;
        pool.stale.store(false, std::memory_order_relaxed);
        pool.live.store(0, std::memory_order_relaxed);
        pool.charged = 0;
    };
    for (Reserved& pool : pools) forget(pool);
    for (Reserved& memory : graph_memory) forget(memory);
    pool_count.store(0, std::memory_order_relaxed);
    stale_pools.store(0, std::memory_order_relaxed);
}

CUresult with_graph_memory(
    CUdevice device,
    std::uint64_t bytes,
    CUstream stream,
    unsigned null,
    GraphCall call,
    void* context
) {
    if (device < 0 || device >= kMaxOrdinals) return call(context);
    Reserved& memory = graph_memory_of(device);
    const Held held(memory.lock);
    put_right(memory);
    const std::uint64_t growth = growth_for(memory, bytes);
    if (!make_room(memory, growth, stream, static_cast<Null>(null)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call(context);
    // The launch cannot be taken back: what it took beyond the estimate is charged all the same.
    if (!settle(memory, growth)) put_right(memory);
    return result;
}

std::uint32_t graph_trims(CUdevice device) {
    return device < 0 || device >= kMaxOrdinals
               ? 0
               : graph_memory[device].trims.load(std::memory_order_relaxed);
}

}  // namespace egpu::guard
