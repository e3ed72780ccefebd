#include "guard/pools.h"

#include "guard/compute_hooks.h"
#include "guard/driver.h"
#include "guard/guard.h"
#include "guard/hook_table.h"
#include "guard/memory_account.h"
#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

constexpr unsigned kMaxPools = 256;
// What drivers take at once when a pool has to grow; raised per pool when one is seen to take more.
constexpr std::uint64_t kGrain = std::uint64_t{32} << 20U;
constexpr int kNotCharged = -2;  // host memory

struct Reserved {
    Lock lock;  // held around every call that can change what is reserved
    std::atomic<CUmemoryPool> pool{nullptr};
    CUdevice device = 0;
    int index = kNotListed;
    bool graph = false;
    bool destroyed = false;              // by the program; lives until its last block is freed
    std::atomic<bool> stale{false};      // freed into since the charge was last put right
    std::atomic<std::uint32_t> live{0};  // blocks
    std::atomic<std::uint32_t> trims{0};
    std::uint64_t charged = 0;  // multiple of 512
    std::uint64_t grain = kGrain;
};

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

// Makes the charge what the driver has reserved. Under the lock.
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

// Not while anything captures: waiting would spoil the capture.
void synchronise(CUstream stream, Null null) {
    if (capture_of(stream, null) != Capture::none) return;
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

Reserved* pool_of(CUmemoryPool handle) {
    Reserved* pool = find_pool(handle);
    return pool != nullptr ? pool : adopt(handle);
}

// Reserves for growth by `bytes`; under the pool's lock. What cannot be had at once is looked for
// in the pool itself: memory that was freed on the stream, but that the card is not through with,
// comes back by waiting for it.
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

// After the driver's call: the charge becomes what is reserved now. False when that breaks the
// quota.
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

CUresult allocate(
    Reserved& pool,
    CUdeviceptr* address,
    std::size_t bytes,
    CUstream stream,
    Null null,
    CUresult (*call)(void*),
    void* context
) {
    const Held held(pool.lock);
    put_right(pool);
    const std::uint64_t growth = growth_for(pool, bytes);
    if (!make_room(pool, growth, stream, null)) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call(context);
    const bool fits = settle(pool, growth);
    if (result != CUDA_SUCCESS) return result;
    Block block;
    block.key = *address;
    block.size = bytes;
    block.owner = static_cast<std::uint64_t>(&pool - pools);
    block.device = static_cast<std::int16_t>(pool.index);
    block.kind = BlockKind::pooled;
    Block replaced;
    if (fits && guard.addresses.insert(block, replaced)) {
        settle_replaced(replaced);
        pool.live.fetch_add(1, std::memory_order_relaxed);
        return result;
    }
    using Free = CUresult (*)(CUdeviceptr, CUstream);
    real_as<Free>(null == Null::legacy ? HookId::cuMemFreeAsync : HookId::cuMemFreeAsync_ptsz)(
        *address, stream
    );
    synchronise(stream, null);
    trim(pool);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

// The card of a stream; the current one for default streams.
bool device_of(CUstream stream, Null null, CUdevice& device) {
    const Place place = current_place();
    device = place.device;
    if (reinterpret_cast<std::uintptr_t>(stream) <= CU_STREAM_PER_THREAD) return place.known;
    CUcontext context = nullptr;
    if (driver.StreamGetCtx[static_cast<unsigned>(null)](stream, &context) != CUDA_SUCCESS ||
        context == nullptr) {
        return place.known;
    }
    if (context == place.context) return place.known;
    if (driver.CtxPushCurrent(context) != CUDA_SUCCESS) return place.known;
    const bool known = driver.CtxGetDevice(&device) == CUDA_SUCCESS;
    CUcontext popped = nullptr;
    driver.CtxPopCurrent(&popped);
    return known;
}

void drop_if_empty(Reserved& pool) {
    if (!pool.destroyed || pool.live.load(std::memory_order_acquire) != 0) return;
    guard.refund(pool.index, pool.charged);
    pool.charged = 0;
    pool.pool.store(nullptr, std::memory_order_release);
}

Reserved& graph_memory_of(CUdevice device) {
    Reserved& memory = graph_memory[device];
    memory.graph = true;
    memory.device = device;
    memory.index = guard.index_of(device);
    return memory;
}

CUresult alloc_async(CUdeviceptr* address, std::size_t bytes, CUstream stream, Null null) {
    using Call = CUresult (*)(CUdeviceptr*, std::size_t, CUstream);
    struct Context {
        Call real;
        CUdeviceptr* address;
        std::size_t bytes;
        CUstream stream;
    } context{
        real_as<Call>(
            null == Null::legacy ? HookId::cuMemAllocAsync : HookId::cuMemAllocAsync_ptsz
        ),
        address,
        bytes,
        stream};
    const auto call = [](void* at) {
        const auto& c = *static_cast<Context*>(at);
        return c.real(c.address, c.bytes, c.stream);
    };
    EGPU_UNLESS_ACTIVE(call(&context));
    CUdevice device = 0;
    CUmemoryPool handle = nullptr;
    // A captured allocation becomes a node of the graph; its memory is charged when the graph is
    // launched.
    if (address == nullptr || bytes == 0 || capture_of(stream, null) == Capture::active ||
        !device_of(stream, null, device) ||
        driver.DeviceGetMemPool(&handle, device) != CUDA_SUCCESS) {
        return call(&context);
    }
    Reserved* pool = pool_of(handle);
    if (pool == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    return allocate(*pool, address, bytes, stream, null, call, &context);
}

CUresult alloc_from_pool(
    CUdeviceptr* address, std::size_t bytes, CUmemoryPool handle, CUstream stream, Null null
) {
    using Call = CUresult (*)(CUdeviceptr*, std::size_t, CUmemoryPool, CUstream);
    struct Context {
        Call real;
        CUdeviceptr* address;
        std::size_t bytes;
        CUmemoryPool pool;
        CUstream stream;
    } context{
        real_as<Call>(
            null == Null::legacy ? HookId::cuMemAllocFromPoolAsync
                                 : HookId::cuMemAllocFromPoolAsync_ptsz
        ),
        address,
        bytes,
        handle,
        stream};
    const auto call = [](void* at) {
        const auto& c = *static_cast<Context*>(at);
        return c.real(c.address, c.bytes, c.pool, c.stream);
    };
    EGPU_UNLESS_ACTIVE(call(&context));
    if (address == nullptr || bytes == 0 || handle == nullptr ||
        capture_of(stream, null) == Capture::active)
        return call(&context);
    Reserved* pool = pool_of(handle);
    if (pool == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    return allocate(*pool, address, bytes, stream, null, call, &context);
}

// The program waited for the card.
void waited() {
    if (!guard.active()) return;
    refresh_stale_pools();
    compute_poll();
}

CUresult free_async(CUdeviceptr address, CUstream stream, Null null) {
    using Call = CUresult (*)(CUdeviceptr, CUstream);
    const auto real =
        real_as<Call>(null == Null::legacy ? HookId::cuMemFreeAsync : HookId::cuMemFreeAsync_ptsz);
    EGPU_UNLESS_ACTIVE(real(address, stream));
    // A captured free is a node, too: nothing is freed now.
    if (capture_of(stream, null) == Capture::active) return real(address, stream);
    Block block;
    if (!take_device_block(address, block)) {
        const CUresult result = real(address, stream);
        if (result == CUDA_SUCCESS && address != 0) guard.count_unknown_free();
        return result;
    }
    const CUresult result = real(address, stream);
    if (result != CUDA_SUCCESS) {
        Block replaced;
        if (guard.addresses.insert(block, replaced)) settle_replaced(replaced);
        return result;
    }
    if (block.kind == BlockKind::plain) {
        // Rare: memory that was not allocated on a stream. It is the card's until the stream gets
        // there.
        synchronise(stream, null);
        guard.refund(block);
        return result;
    }
    if (pools[block.owner].destroyed) synchronise(stream, null);
    pool_block_freed(block, false);
    return result;
}

}  // namespace

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

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuMemAllocAsync(CUdeviceptr* address, std::size_t bytes, CUstream stream) {
    return alloc_async(address, bytes, stream, Null::legacy);
}
EGPU_EXPORT CUresult
cuMemAllocAsync_ptsz(CUdeviceptr* address, std::size_t bytes, CUstream stream) {
    return alloc_async(address, bytes, stream, Null::per_thread);
}
EGPU_EXPORT CUresult cuMemAllocFromPoolAsync(
    CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool, CUstream stream
) {
    return alloc_from_pool(address, bytes, pool, stream, Null::legacy);
}
EGPU_EXPORT CUresult cuMemAllocFromPoolAsync_ptsz(
    CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool, CUstream stream
) {
    return alloc_from_pool(address, bytes, pool, stream, Null::per_thread);
}
EGPU_EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    return free_async(address, stream, Null::legacy);
}
EGPU_EXPORT CUresult cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream) {
    return free_async(address, stream, Null::per_thread);
}

EGPU_EXPORT CUresult cuMemPoolCreate(CUmemoryPool* pool, const CUmemPoolProps* props) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemPoolCreate)(pool, props));
    const CUresult result = EGPU_REAL(cuMemPoolCreate)(pool, props);
    if (result != CUDA_SUCCESS) return result;
    const bool on_card = props->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
    const int index = on_card ? guard.index_of(props->location.id) : kNotCharged;
    if (add_pool(*pool, props->location.id, index) == nullptr) {
        using Destroy = CUresult (*)(CUmemoryPool);
        real_as<Destroy>(HookId::cuMemPoolDestroy)(*pool);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return result;
}

EGPU_EXPORT CUresult cuMemPoolDestroy(CUmemoryPool handle) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemPoolDestroy)(handle));
    Reserved* pool = find_pool(handle);
    if (pool == nullptr) return EGPU_REAL(cuMemPoolDestroy)(handle);
    const Held held(pool->lock);
    const CUresult result = EGPU_REAL(cuMemPoolDestroy)(handle);
    if (result != CUDA_SUCCESS) return result;
    pool->destroyed = true;
    drop_if_empty(*pool);
    return result;
}

EGPU_EXPORT CUresult cuMemPoolTrimTo(CUmemoryPool handle, std::size_t keep) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemPoolTrimTo)(handle, keep));
    Reserved* pool = find_pool(handle);
    if (pool == nullptr) return EGPU_REAL(cuMemPoolTrimTo)(handle, keep);
    const Held held(pool->lock);
    const CUresult result = EGPU_REAL(cuMemPoolTrimTo)(handle, keep);
    put_right(*pool);
    return result;
}

EGPU_EXPORT CUresult
cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
    const CUresult result = EGPU_REAL(cuMemPoolSetAttribute)(handle, attribute, value);
    // A lower threshold gives memory back at the next synchronisation.
    if (result == CUDA_SUCCESS && guard.active()) {
        if (Reserved* pool = find_pool(handle); pool != nullptr) mark_stale(*pool);
    }
    return result;
}

EGPU_EXPORT CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuDeviceSetMemPool)(device, pool));
    const CUresult result = EGPU_REAL(cuDeviceSetMemPool)(device, pool);
    if (result == CUDA_SUCCESS && find_pool(pool) == nullptr) adopt(pool);
    return result;
}

EGPU_EXPORT CUresult
cuMemSetMemPool(CUmemLocation* location, CUmemAllocationType type, CUmemoryPool pool) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemSetMemPool)(location, type, pool));
    const CUresult result = EGPU_REAL(cuMemSetMemPool)(location, type, pool);
    if (result == CUDA_SUCCESS && find_pool(pool) == nullptr) adopt(pool);
    return result;
}

EGPU_EXPORT CUresult cuDeviceGraphMemTrim(CUdevice device) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuDeviceGraphMemTrim)(device));
    if (device < 0 || device >= kMaxOrdinals) return EGPU_REAL(cuDeviceGraphMemTrim)(device);
    Reserved& memory = graph_memory_of(device);
    const Held held(memory.lock);
    const CUresult result = EGPU_REAL(cuDeviceGraphMemTrim)(device);
    memory.trims.fetch_add(1, std::memory_order_relaxed);
    put_right(memory);
    return result;
}

// Waiting is when the driver gives pool memory back, and a good moment to look.
EGPU_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
    const CUresult result = EGPU_REAL(cuStreamSynchronize)(stream);
    if (result == CUDA_SUCCESS) waited();
    return result;
}
EGPU_EXPORT CUresult cuStreamSynchronize_ptsz(CUstream stream) {
    const CUresult result = EGPU_REAL(cuStreamSynchronize_ptsz)(stream);
    if (result == CUDA_SUCCESS) waited();
    return result;
}
EGPU_EXPORT CUresult cuCtxSynchronize() {
    const CUresult result = EGPU_REAL(cuCtxSynchronize)();
    if (result == CUDA_SUCCESS) waited();
    return result;
}
EGPU_EXPORT CUresult cuCtxSynchronize_v2(CUcontext context) {
    const CUresult result = EGPU_REAL(cuCtxSynchronize_v2)(context);
    if (result == CUDA_SUCCESS) waited();
    return result;
}
