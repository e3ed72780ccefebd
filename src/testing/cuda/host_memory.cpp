// Page-locked memory of the host. Its address is the same for the device.
#include <sys/mman.h>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

CUresult allocate(void** out, std::size_t size, unsigned flags) {
    REQUIRE(out != nullptr && size > 0 && (flags & ~0x7U) == 0);
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    void* mapped = ::mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    );
    if (mapped == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    Allocation allocation;
    allocation.size = size;
    allocation.kind = Kind::kHost;
    allocation.device = context->device;
    allocation.context = context;
    allocation.flags = flags;
    allocation.id = d.next_id++;
    d.allocations[reinterpret_cast<std::uint64_t>(mapped)] = allocation;
    *out = mapped;
    return CUDA_SUCCESS;
}

// The allocation of one kind that starts at `address`; takes it off the books.
CUresult remove(void* address, Kind kind, CUresult missing, std::uint64_t& size) {
    CONTEXT(context);
    engine().wait_for_device(context->device);
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    const auto found = d.allocations.find(reinterpret_cast<std::uint64_t>(address));
    if (found == d.allocations.end() || found->second.kind != kind) return missing;
    size = found->second.size;
    d.allocations.erase(found);
    return CUDA_SUCCESS;
}

CUresult register_memory(void* address, std::size_t size, unsigned flags) {
    REQUIRE(address != nullptr && size > 0 && (flags & ~0xFU) == 0);
    CONTEXT(context);
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    const auto start = reinterpret_cast<std::uint64_t>(address);
    const auto next = d.allocations.lower_bound(start);
    if (find_allocation(start) != d.allocations.end() ||
        (next != d.allocations.end() && next->first - start < size)) {
        return kHostMemoryAlreadyRegistered;
    }
    Allocation allocation;
    allocation.size = size;
    allocation.kind = Kind::kRegistered;
    allocation.device = context->device;
    allocation.context = context;
    allocation.flags = flags;
    allocation.id = d.next_id++;
    d.allocations[start] = allocation;
    return CUDA_SUCCESS;
}

CUresult device_pointer(std::uint64_t& out, void* address, unsigned flags) {
    REQUIRE(flags == 0);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    const auto found = find_allocation(reinterpret_cast<std::uint64_t>(address));
    if (found == driver().allocations.end()) return CUDA_ERROR_INVALID_VALUE;
    if (found->second.kind != Kind::kHost && found->second.kind != Kind::kRegistered) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    out = reinterpret_cast<std::uint64_t>(address);
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuMemHostAlloc)(void** out, std::size_t size, unsigned flags) {
    ENTER();
    return allocate(out, size, flags);
}
CU(cuMemAllocHost_v2)(void** out, std::size_t size) {
    ENTER();
    return allocate(out, size, 0);
}
CU(cuMemAllocHost)(void** out, unsigned size) {
    ENTER();
    return allocate(out, size, 0);
}
CU(cuMemFreeHost)(void* address) {
    ENTER();
    std::uint64_t size = 0;
    const CUresult result = remove(address, Kind::kHost, CUDA_ERROR_INVALID_VALUE, size);
    if (result == CUDA_SUCCESS) ::munmap(address, size);
    return result;
}
CU(cuMemHostRegister_v2)(void* address, std::size_t size, unsigned flags) {
    ENTER();
    return register_memory(address, size, flags);
}
CU(cuMemHostRegister)(void* address, std::size_t size, unsigned flags) {
    ENTER();
    return register_memory(address, size, flags);
}
CU(cuMemHostUnregister)(void* address) {
    ENTER();
    std::uint64_t size = 0;
    return remove(address, Kind::kRegistered, kHostMemoryNotRegistered, size);
}
CU(cuMemHostGetDevicePointer_v2)(CUdeviceptr* out, void* address, unsigned flags) {
    ENTER();
    REQUIRE(out != nullptr);
    return device_pointer(*out, address, flags);
}
CU(cuMemHostGetDevicePointer)(CUdeviceptr_v1* out, void* address, unsigned flags) {
    ENTER();
    REQUIRE(out != nullptr);
    std::uint64_t wide = 0;
    const CUresult result = device_pointer(wide, address, flags);
    if (result != CUDA_SUCCESS) return result;
    if (wide > 0xFFFFFFFFU) return CUDA_ERROR_NOT_SUPPORTED;
    *out = static_cast<CUdeviceptr_v1>(wide);
    return CUDA_SUCCESS;
}
CU(cuMemHostGetFlags)(unsigned* flags, void* address) {
    ENTER();
    REQUIRE(flags != nullptr);
    const std::lock_guard lock(driver().mutex);
    const auto found = find_allocation(reinterpret_cast<std::uint64_t>(address));
    REQUIRE(found != driver().allocations.end());
    *flags = found->second.flags;
    return CUDA_SUCCESS;
}
