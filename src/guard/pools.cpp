// Stream-ordered memory, pools, and the waits at which pools give memory back.
#include "guard/pools.h"

#include "guard/compute_hooks.h"
#include "guard/driver.h"
#include "guard/hook_table.h"
#include "guard/pool_charge.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

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
    block.owner = number_of(pool);
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
    if (pool_with(block.owner).destroyed) synchronise(stream, null);
    pool_block_freed(block, false);
    return result;
}

}  // namespace
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
    if (result == CUDA_SUCCESS) pool_of(pool);
    return result;
}

EGPU_EXPORT CUresult
cuMemSetMemPool(CUmemLocation* location, CUmemAllocationType type, CUmemoryPool pool) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemSetMemPool)(location, type, pool));
    const CUresult result = EGPU_REAL(cuMemSetMemPool)(location, type, pool);
    if (result == CUDA_SUCCESS) pool_of(pool);
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
