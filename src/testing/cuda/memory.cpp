// Linear memory of a device: plain, pitched, managed, of the 32-bit era; what is free; whose an
// address is. The other families: pools.cpp, vmm.cpp, arrays.cpp, host_memory.cpp, ipc.cpp.
#include <algorithm>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

constexpr std::uint64_t kPitch = 512;
constexpr unsigned kOnHost = 0x40000000U;  // Allocation::flags: managed memory that is not charged
constexpr unsigned kLowAddress =
    0x80000000U;  // Allocation::flags: of a 32-bit call, mapped by itself

void add(
    std::uint64_t address, std::uint64_t size, Kind kind, Context* context, unsigned flags = 0
) {
    Driver& d = driver();
    Allocation allocation;
    allocation.size = size;
    allocation.kind = kind;
    allocation.device = context->device;
    allocation.context = context;
    allocation.flags = flags;
    allocation.id = d.next_id++;
    d.allocations[address] = allocation;
}

CUresult allocate(CUdeviceptr* out, std::uint64_t size) {
    REQUIRE(out != nullptr && size > 0);
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    Driver& d = driver();
    spend(d.settings.alloc_ns);
    const std::lock_guard lock(d.mutex);
    std::uint64_t address = 0;
    if (const CUresult result = allocate_device_locked(*context->device, size, address);
        result != CUDA_SUCCESS) {
        return result;
    }
    add(address, size, Kind::kDevice, context);
    *out = address;
    return CUDA_SUCCESS;
}

CUresult allocate_pitched(
    CUdeviceptr* out, std::size_t* pitch, std::size_t width, std::size_t height, unsigned element
) {
    REQUIRE(out != nullptr && pitch != nullptr && width > 0 && height > 0);
    REQUIRE(element == 4 || element == 8 || element == 16);
    const std::uint64_t row = round_up(width, kPitch);
    if (row < width || row > ~0ULL / height) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = allocate(out, row * height);
    if (result == CUDA_SUCCESS) *pitch = row;
    return result;
}

CUresult allocate_low(CUdeviceptr_v1* out, unsigned size) {
    REQUIRE(out != nullptr && size > 0);
    CONTEXT(context);
    const std::uint64_t whole = round_up(size, kBlock);
    if (!take(*context->device, whole)) return CUDA_ERROR_OUT_OF_MEMORY;
    for (std::uint64_t at = 0x10000000; at + whole < 0xF0000000; at += 0x1000000) {
        void* mapped = ::mmap(
            reinterpret_cast<void*>(at),
            whole,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
            -1,
            0
        );
        if (mapped == MAP_FAILED) continue;
        if (reinterpret_cast<std::uint64_t>(mapped) + whole >
            0xFFFFFFFFU) {  // an old kernel's choice
            ::munmap(mapped, whole);
            continue;
        }
        const auto address = reinterpret_cast<std::uint64_t>(mapped);
        const std::lock_guard lock(driver().mutex);
        add(address, size, Kind::kDevice, context, kLowAddress);
        *out = static_cast<CUdeviceptr_v1>(address);
        return CUDA_SUCCESS;
    }
    give_back(*context->device, whole);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult allocate_managed(CUdeviceptr* out, std::uint64_t size, unsigned flags) {
    REQUIRE(out != nullptr && size > 0 && (flags == 1 || flags == 2));
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    spend(driver().settings.alloc_ns);
    // As if it were all on the card; what does not fit is the host's, as with the real driver.
    const bool on_card = take(*context->device, round_up(size, kBlock));
    if (!on_card) flags |= kOnHost;
    void* mapped = ::mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    );
    if (mapped == MAP_FAILED) {
        if (on_card) give_back(*context->device, round_up(size, kBlock));
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    const std::lock_guard lock(driver().mutex);
    add(reinterpret_cast<std::uint64_t>(mapped), size, Kind::kManaged, context, flags);
    *out = reinterpret_cast<std::uint64_t>(mapped);
    return CUDA_SUCCESS;
}

// Under the mutex. Of the kinds that cuMemFree frees and that no pool or graph owns.
void release(std::uint64_t address, const Allocation& allocation) {
    if (allocation.kind == Kind::kManaged || (allocation.flags & kLowAddress) != 0) {
        const std::uint64_t whole = round_up(allocation.size, kBlock);
        ::munmap(
            reinterpret_cast<void*>(address),
            allocation.kind == Kind::kManaged ? allocation.size : whole
        );
        if ((allocation.flags & kOnHost) == 0) give_back(*allocation.device, whole);
    } else {
        release_device_locked(*allocation.device, address, allocation.size);
    }
}

CUresult free_memory(CUdeviceptr address) {
    if (address == 0) return CUDA_SUCCESS;
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    Driver& d = driver();
    Kind kind = Kind::kReserved;
    Device* device = nullptr;
    {
        const std::lock_guard lock(d.mutex);
        const auto found = d.allocations.find(address);
        if (found == d.allocations.end()) return CUDA_ERROR_INVALID_VALUE;
        kind = found->second.kind;
        device = found->second.device;
    }
    if (kind != Kind::kDevice && kind != Kind::kManaged && kind != Kind::kPool &&
        kind != Kind::kGraph) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    engine().wait_for_device(device);
    if (kind == Kind::kPool) {
        const CUresult result = free_pool_memory(address, nullptr);
        settle_pools(*device);
        return result;
    }
    const std::lock_guard lock(d.mutex);
    if (kind == Kind::kGraph) {
        return free_graph_memory_locked(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    const auto found = d.allocations.find(address);
    if (found == d.allocations.end()) return CUDA_ERROR_INVALID_VALUE;  // another thread was first
    release(address, found->second);
    d.allocations.erase(found);
    return CUDA_SUCCESS;
}

CUresult address_range(std::uint64_t* base, std::uint64_t* size, std::uint64_t address) {
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    const auto found = find_allocation(address);
    if (found == driver().allocations.end()) return CUDA_ERROR_NOT_FOUND;
    if (base != nullptr) *base = found->first;
    if (size != nullptr) *size = found->second.size;
    return CUDA_SUCCESS;
}

CUresult info(std::uint64_t& free, std::uint64_t& total) {
    CONTEXT(context);
    Device& device = *context->device;
    total = device.bytes;
    free = total - std::min(total, driver().shared->used(device.unit));
    return CUDA_SUCCESS;
}

}  // namespace

void forget_context_memory(Context* context) {
    Driver& d = driver();
    std::vector<std::uint64_t> pooled;
    {
        const std::lock_guard lock(d.mutex);
        for (auto it = d.allocations.begin(); it != d.allocations.end();) {
            const Allocation& allocation = it->second;
            if (allocation.context != context) {
                ++it;
                continue;
            }
            if (allocation.kind == Kind::kPool) pooled.push_back(it->first);  // needs other locks
            if (allocation.kind == Kind::kDevice || allocation.kind == Kind::kManaged) {
                release(it->first, allocation);
            } else if (allocation.kind == Kind::kHost || allocation.kind == Kind::kIpc) {
                ::munmap(reinterpret_cast<void*>(it->first), allocation.size);
                if (allocation.import_fd >= 0) ::close(allocation.import_fd);
            } else if (allocation.kind != Kind::kRegistered) {
                ++it;
                continue;
            }
            it = d.allocations.erase(it);
        }
    }
    for (const std::uint64_t address : pooled) free_pool_memory(address, nullptr);
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuMemAlloc_v2)(CUdeviceptr* out, std::size_t size) {
    ENTER();
    return allocate(out, size);
}
CU(cuMemAlloc)(CUdeviceptr_v1* out, unsigned size) {
    ENTER();
    return allocate_low(out, size);
}
CU(cuMemAllocPitch_v2)
(CUdeviceptr* out, std::size_t* pitch, std::size_t width, std::size_t height, unsigned element) {
    ENTER();
    return allocate_pitched(out, pitch, width, height, element);
}
CU(cuMemAllocPitch)
(CUdeviceptr_v1* out, unsigned* pitch, unsigned width, unsigned height, unsigned element) {
    ENTER();
    REQUIRE(out != nullptr && pitch != nullptr && width > 0 && height > 0);
    REQUIRE(element == 4 || element == 8 || element == 16);
    const std::uint64_t row = round_up(width, kPitch);
    if (row * height > 0xFFFFFFFFU) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = allocate_low(out, static_cast<unsigned>(row * height));
    if (result == CUDA_SUCCESS) *pitch = static_cast<unsigned>(row);
    return result;
}
CU(cuMemAllocManaged)(CUdeviceptr* out, std::size_t size, unsigned flags) {
    ENTER();
    return allocate_managed(out, size, flags);
}
CU(cuMemFree_v2)(CUdeviceptr address) {
    ENTER();
    spend(driver().settings.alloc_ns);
    return free_memory(address);
}
CU(cuMemFree)(CUdeviceptr_v1 address) {
    ENTER();
    return free_memory(address);
}
CU(cuMemGetInfo_v2)(std::size_t* free, std::size_t* total) {
    ENTER();
    REQUIRE(free != nullptr && total != nullptr);
    return info(*free, *total);
}
CU(cuMemGetInfo)(unsigned* free, unsigned* total) {
    ENTER();
    REQUIRE(free != nullptr && total != nullptr);
    std::uint64_t wide_free = 0;
    std::uint64_t wide_total = 0;
    const CUresult result = info(wide_free, wide_total);
    *free = static_cast<unsigned>(std::min<std::uint64_t>(wide_free, 0xFFFFFFFFU));
    *total = static_cast<unsigned>(std::min<std::uint64_t>(wide_total, 0xFFFFFFFFU));
    return result;
}
CU(cuMemGetAddressRange_v2)(CUdeviceptr* base, std::size_t* size, CUdeviceptr address) {
    ENTER();
    return address_range(base, size, address);
}
CU(cuMemGetAddressRange)(CUdeviceptr_v1* base, unsigned* size, CUdeviceptr_v1 address) {
    ENTER();
    std::uint64_t wide_base = 0;
    std::uint64_t wide_size = 0;
    const CUresult result = address_range(&wide_base, &wide_size, address);
    if (base != nullptr) *base = static_cast<CUdeviceptr_v1>(wide_base);
    if (size != nullptr) *size = static_cast<unsigned>(wide_size);
    return result;
}

// Hints about managed memory: checked, and without effect on bytes that are always here.
CU(cuMemAdvise)(CUdeviceptr address, std::size_t size, int advice, CUdevice) {
    ENTER();
    REQUIRE(advice >= 1 && advice <= 6 && accessible(address, size));
    return CUDA_SUCCESS;
}
CU(cuMemAdvise_v2)(CUdeviceptr address, std::size_t size, int advice, CUmemLocation) {
    ENTER();
    REQUIRE(advice >= 1 && advice <= 6 && accessible(address, size));
    return CUDA_SUCCESS;
}
CU(cuMemPrefetchAsync)(CUdeviceptr address, std::size_t size, CUdevice, CUstream handle) {
    ENTER();
    STREAM(stream, handle, Default::kLegacy);
    REQUIRE(accessible(address, size));
    return CUDA_SUCCESS;
}
CU(cuMemPrefetchAsync_ptsz)(CUdeviceptr address, std::size_t size, CUdevice, CUstream handle) {
    ENTER();
    STREAM(stream, handle, Default::kPerThread);
    REQUIRE(accessible(address, size));
    return CUDA_SUCCESS;
}
CU(cuMemPrefetchAsync_v2)
(CUdeviceptr address, std::size_t size, CUmemLocation, unsigned flags, CUstream handle) {
    ENTER();
    STREAM(stream, handle, Default::kLegacy);
    REQUIRE(flags == 0 && accessible(address, size));
    return CUDA_SUCCESS;
}
CU(cuMemPrefetchAsync_v2_ptsz)
(CUdeviceptr address, std::size_t size, CUmemLocation, unsigned flags, CUstream handle) {
    ENTER();
    STREAM(stream, handle, Default::kPerThread);
    REQUIRE(flags == 0 && accessible(address, size));
    return CUDA_SUCCESS;
}
