// Memory ordered with the work on streams: the calls.
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testing/cuda/capture.h"
#include "testing/cuda/pools.h"

namespace egpu::testing::cuda {
namespace {

constexpr std::uint64_t kPiece = 512;

CUresult allocate_async(
    CUdeviceptr* out, std::size_t size, Pool* pool, CUstream handle, Default flavour
) {
    REQUIRE(out != nullptr && size > 0);
    STREAM(stream, handle, flavour);
    spend(driver().settings.alloc_ns);
    if (pool == nullptr) {
        const std::lock_guard lock(driver().mutex);
        pool = current_pool(*stream->context->device);
    }
    if (pool->import_fd >= 0) return CUDA_ERROR_NOT_SUPPORTED;
    {
        std::unique_lock lock(engine().mutex);
        if (stream->capture != nullptr) return capture_alloc(stream, *pool->device, size, *out);
    }
    std::uint64_t address = 0;
    const CUresult result = allocate_from_pool(*pool, size, stream, address);
    if (result == CUDA_SUCCESS) *out = address;
    return result;
}

CUresult free_async(CUdeviceptr address, CUstream handle, Default flavour) {
    REQUIRE(address != 0);
    STREAM(stream, handle, flavour);
    Driver& d = driver();
    spend(d.settings.alloc_ns);
    std::unique_lock lock(engine().mutex);
    if (stream->capture != nullptr) return capture_free(stream, address);
    Allocation allocation;
    {
        const std::lock_guard inner(d.mutex);
        const auto found = d.allocations.find(address);
        if (found == d.allocations.end()) return CUDA_ERROR_INVALID_VALUE;
        allocation = found->second;
        if (allocation.kind == Kind::kDevice && allocation.flags == 0) d.allocations.erase(found);
    }
    if (allocation.kind == Kind::kPool) {
        lock.unlock();
        return free_pool_memory(address, stream);
    }
    Operation operation;
    if (allocation.kind == Kind::kGraph) {
        operation.work = [address] {
            const std::lock_guard inner(driver().mutex);
            free_graph_memory_locked(address);
        };
    } else if (allocation.kind == Kind::kDevice && allocation.flags == 0) {
        operation.work = [address, allocation] {
            const std::lock_guard inner(driver().mutex);
            release_device_locked(*allocation.device, address, allocation.size);
        };
    } else {
        return CUDA_ERROR_INVALID_VALUE;
    }
    engine().enqueue(lock, stream, std::move(operation));
    return CUDA_SUCCESS;
}

CUresult set_attribute(Pool& pool, CUmemPool_attribute attribute, const void* value) {
    std::uint64_t wide = 0;
    int narrow = 0;
    std::memcpy(&narrow, value, sizeof narrow);
    switch (attribute) {
        case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
            pool.follow_events = narrow;
            return CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
            pool.opportunistic = narrow;
            return CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
            pool.internal_dependencies = narrow;
            return CUDA_SUCCESS;
        default:
            break;
    }
    std::memcpy(&wide, value, sizeof wide);
    switch (attribute) {
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
            pool.threshold = wide;
            return CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:  // reset to what is now; the value must be 0
            REQUIRE(wide == 0);
            pool.reserved_high = pool.reserved;
            return CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
            REQUIRE(wide == 0);
            pool.used_high = pool.used;
            return CUDA_SUCCESS;
        default:
            return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult get_attribute(const Pool& pool, CUmemPool_attribute attribute, void* out) {
    const auto put = [out](auto value) {
        std::memcpy(out, &value, sizeof value);
        return CUDA_SUCCESS;
    };
    switch (attribute) {
        case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
            return put(pool.follow_events);
        case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
            return put(pool.opportunistic);
        case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
            return put(pool.internal_dependencies);
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
            return put(pool.threshold);
        case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
            return put(pool.reserved);
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
            return put(pool.reserved_high);
        case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
            return put(pool.used);
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
            return put(pool.used_high);
        default:
            return CUDA_ERROR_INVALID_VALUE;
    }
}

// What a pointer of a pool is to another process.
struct PointerExport {
    std::uint64_t offset;
    std::uint64_t size;
};
static_assert(sizeof(PointerExport) <= sizeof(CUmemPoolPtrExportData));

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

#define POOL(name, handle)                      \
    const std::lock_guard lock(driver().mutex); \
    Pool* name = pool_from(handle);             \
    if (name == nullptr) return CUDA_ERROR_INVALID_VALUE

CU(cuMemAllocAsync)(CUdeviceptr* out, std::size_t size, CUstream stream) {
    ENTER();
    return allocate_async(out, size, nullptr, stream, Default::kLegacy);
}
CU(cuMemAllocAsync_ptsz)(CUdeviceptr* out, std::size_t size, CUstream stream) {
    ENTER();
    return allocate_async(out, size, nullptr, stream, Default::kPerThread);
}
CU(cuMemAllocFromPoolAsync)
(CUdeviceptr* out, std::size_t size, CUmemoryPool handle, CUstream stream) {
    ENTER();
    Pool* pool = pool_from(handle);
    REQUIRE(pool != nullptr);
    return allocate_async(out, size, pool, stream, Default::kLegacy);
}
CU(cuMemAllocFromPoolAsync_ptsz)
(CUdeviceptr* out, std::size_t size, CUmemoryPool handle, CUstream stream) {
    ENTER();
    Pool* pool = pool_from(handle);
    REQUIRE(pool != nullptr);
    return allocate_async(out, size, pool, stream, Default::kPerThread);
}
CU(cuMemFreeAsync)(CUdeviceptr address, CUstream stream) {
    ENTER();
    return free_async(address, stream, Default::kLegacy);
}
CU(cuMemFreeAsync_ptsz)(CUdeviceptr address, CUstream stream) {
    ENTER();
    return free_async(address, stream, Default::kPerThread);
}
CU(cuMemPoolCreate)(CUmemoryPool* out, const CUmemPoolProps* props) {
    ENTER();
    REQUIRE(out != nullptr && props != nullptr);
    REQUIRE(props->allocType == CU_MEM_ALLOCATION_TYPE_PINNED);
    if (props->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    DEVICE(device, props->location.id);
    const std::lock_guard lock(driver().mutex);
    *out = handle_of(make_pool(*device, *props, false));
    return CUDA_SUCCESS;
}
CU(cuMemPoolDestroy)(CUmemoryPool handle) {
    ENTER();
    POOL(pool, handle);
    REQUIRE(!pool->owned_by_device);
    for (const auto& device : driver().devices) {
        if (device->current_pool == pool) device->current_pool = nullptr;
    }
    pool->destroyed = true;
    drop_if_unused(pool);
    return CUDA_SUCCESS;
}
CU(cuMemPoolTrimTo)(CUmemoryPool handle, std::size_t keep) {
    ENTER();
    const std::lock_guard order(engine().mutex);
    engine().pump();
    POOL(pool, handle);
    settle_pending(*pool);
    trim(*pool, keep);
    return CUDA_SUCCESS;
}
CU(cuMemPoolSetAttribute)(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
    ENTER();
    REQUIRE(value != nullptr);
    POOL(pool, handle);
    return set_attribute(*pool, attribute, value);
}
CU(cuMemPoolGetAttribute)(CUmemoryPool handle, CUmemPool_attribute attribute, void* out) {
    ENTER();
    REQUIRE(out != nullptr);
    const std::lock_guard order(engine().mutex);
    engine().pump();
    POOL(pool, handle);
    settle_pending(*pool);
    return get_attribute(*pool, attribute, out);
}
CU(cuMemPoolSetAccess)(CUmemoryPool handle, const CUmemAccessDesc* access, std::size_t count) {
    ENTER();
    REQUIRE(access != nullptr || count == 0);
    POOL(pool, handle);
    for (std::size_t i = 0; i < count; ++i) {
        if (device_of(access[i].location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    }
    return CUDA_SUCCESS;
}
CU(cuMemPoolGetAccess)(int* flags, CUmemoryPool handle, CUmemLocation* location) {
    ENTER();
    REQUIRE(flags != nullptr && location != nullptr);
    POOL(pool, handle);
    *flags = location->id == pool->device->ordinal ? 3 : 0;
    return CUDA_SUCCESS;
}
CU(cuDeviceGetDefaultMemPool)(CUmemoryPool* out, CUdevice ordinal) {
    ENTER();
    REQUIRE(out != nullptr);
    DEVICE(device, ordinal);
    const std::lock_guard lock(driver().mutex);
    *out = handle_of(default_pool(*device));
    return CUDA_SUCCESS;
}
CU(cuDeviceGetMemPool)(CUmemoryPool* out, CUdevice ordinal) {
    ENTER();
    REQUIRE(out != nullptr);
    DEVICE(device, ordinal);
    const std::lock_guard lock(driver().mutex);
    *out = handle_of(current_pool(*device));
    return CUDA_SUCCESS;
}
CU(cuDeviceSetMemPool)(CUdevice ordinal, CUmemoryPool handle) {
    ENTER();
    DEVICE(device, ordinal);
    POOL(pool, handle);
    REQUIRE(pool->device == device);
    device->current_pool = pool;
    return CUDA_SUCCESS;
}
CU(cuMemGetDefaultMemPool)(CUmemoryPool* out, CUmemLocation* location, CUmemAllocationType type) {
    ENTER();
    REQUIRE(out != nullptr && location != nullptr && type == CU_MEM_ALLOCATION_TYPE_PINNED);
    REQUIRE(location->type == CU_MEM_LOCATION_TYPE_DEVICE);
    DEVICE(device, location->id);
    const std::lock_guard lock(driver().mutex);
    *out = handle_of(default_pool(*device));
    return CUDA_SUCCESS;
}
CU(cuMemGetMemPool)(CUmemoryPool* out, CUmemLocation* location, CUmemAllocationType type) {
    ENTER();
    REQUIRE(out != nullptr && location != nullptr && type == CU_MEM_ALLOCATION_TYPE_PINNED);
    REQUIRE(location->type == CU_MEM_LOCATION_TYPE_DEVICE);
    DEVICE(device, location->id);
    const std::lock_guard lock(driver().mutex);
    *out = handle_of(current_pool(*device));
    return CUDA_SUCCESS;
}
CU(cuMemSetMemPool)(CUmemLocation* location, CUmemAllocationType type, CUmemoryPool handle) {
    ENTER();
    REQUIRE(location != nullptr && type == CU_MEM_ALLOCATION_TYPE_PINNED);
    REQUIRE(location->type == CU_MEM_LOCATION_TYPE_DEVICE);
    DEVICE(device, location->id);
    POOL(pool, handle);
    REQUIRE(pool->device == device);
    device->current_pool = pool;
    return CUDA_SUCCESS;
}
CU(cuMemPoolExportToShareableHandle)
(void* out, CUmemoryPool handle, CUmemAllocationHandleType type, unsigned long long flags) {
    ENTER();
    REQUIRE(out != nullptr && flags == 0 && type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    POOL(pool, handle);
    REQUIRE((pool->props.handleTypes & type) != 0);
    if (const CUresult result = open_arena(*pool->device); result != CUDA_SUCCESS) return result;
    const int fd = ::fcntl(pool->device->arena.fd(), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return CUDA_ERROR_UNKNOWN;
    std::memcpy(out, &fd, sizeof fd);
    return CUDA_SUCCESS;
}
CU(cuMemPoolImportFromShareableHandle)
(CUmemoryPool* out, void* shared, CUmemAllocationHandleType type, unsigned long long flags) {
    ENTER();
    REQUIRE(out != nullptr && flags == 0 && type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    CONTEXT(context);
    const int fd =
        ::fcntl(static_cast<int>(reinterpret_cast<std::intptr_t>(shared)), F_DUPFD_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    const std::lock_guard lock(driver().mutex);
    Pool* pool = make_pool(*context->device, {}, false);
    pool->import_fd = fd;
    *out = handle_of(pool);
    return CUDA_SUCCESS;
}
CU(cuMemPoolExportPointer)(CUmemPoolPtrExportData* out, CUdeviceptr address) {
    ENTER();
    REQUIRE(out != nullptr);
    const std::lock_guard lock(driver().mutex);
    const auto found = find_allocation(address);
    REQUIRE(found != driver().allocations.end() && found->second.kind == Kind::kPool);
    REQUIRE(found->second.import_fd < 0);
    const PointerExport data{found->second.device->arena.offset(found->first), found->second.size};
    std::memset(out, 0, sizeof *out);
    std::memcpy(out, &data, sizeof data);
    return CUDA_SUCCESS;
}
CU(cuMemPoolImportPointer)(CUdeviceptr* out, CUmemoryPool handle, CUmemPoolPtrExportData* shared) {
    ENTER();
    REQUIRE(out != nullptr && shared != nullptr);
    CONTEXT(context);
    POOL(pool, handle);
    REQUIRE(pool->import_fd >= 0);
    PointerExport data{};
    std::memcpy(&data, shared, sizeof data);
    // Mappings are of pages; pieces of a pool are not: the page that the piece starts in is mapped,
    // too.
    const std::uint64_t page = data.offset / 4096 * 4096;
    const std::uint64_t whole = round_up(data.size, kPiece) + (data.offset - page);
    const int fd = ::fcntl(pool->import_fd, F_DUPFD_CLOEXEC, 0);
    void* mapped =
        ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(page));
    if (mapped == MAP_FAILED) {
        if (fd >= 0) ::close(fd);
        return CUDA_ERROR_INVALID_VALUE;
    }
    Allocation allocation;
    allocation.size = data.size;
    allocation.kind = Kind::kPool;
    allocation.device = pool->device;
    allocation.context = context;
    allocation.pool = pool;
    allocation.import_fd = fd;
    allocation.id = driver().next_id++;
    const std::uint64_t address = reinterpret_cast<std::uint64_t>(mapped) + (data.offset - page);
    driver().allocations[address] = allocation;
    pool->used += round_up(data.size, kPiece);
    *out = address;
    return CUDA_SUCCESS;
}
