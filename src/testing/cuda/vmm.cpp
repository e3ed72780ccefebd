// Virtual memory management: addresses, physical memory and the mapping between them. A handle's
// memory is the card's until its last reference and its last mapping are gone.
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

void* no_access(std::uint64_t address, std::uint64_t size) {
    return ::mmap(
        reinterpret_cast<void*>(address),
        size,
        PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (address != 0 ? MAP_FIXED : 0),
        -1,
        0
    );
}

// Under the mutex, as all below.
Physical* physical_of(CUmemGenericAllocationHandle handle) {
    const auto found = driver().physicals.find(handle);
    return found == driver().physicals.end() ? nullptr : found->second;
}

void drop_if_unused(CUmemGenericAllocationHandle handle, Physical* physical) {
    if (physical->references > 0 || physical->mappings > 0) return;
    if (physical->address != 0) {
        release_device_locked(*physical->device, physical->address, physical->size);
    } else {
        ::close(physical->fd);
        if (physical->charged != 0) give_back(*physical->device, physical->charged);
    }
    driver().physicals.erase(handle);
    delete physical;
}

bool device_location(const CUmemLocation& location) {
    return location.type == CU_MEM_LOCATION_TYPE_DEVICE;
}

CUresult check_prop(const CUmemAllocationProp* prop) {
    REQUIRE(prop != nullptr && prop->type == CU_MEM_ALLOCATION_TYPE_PINNED);
    REQUIRE((prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) == 0);
    if (device_location(prop->location)) {
        return device_of(prop->location.id) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    }
    const bool host = prop->location.type >= CU_MEM_LOCATION_TYPE_HOST &&
                      prop->location.type <= CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
    return host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult create(
    CUmemGenericAllocationHandle* out, std::size_t size, const CUmemAllocationProp& prop
) {
    Driver& d = driver();
    auto physical = std::make_unique<Physical>();
    physical->size = size;
    physical->prop = prop;
    physical->references = 1;
    if (device_location(prop.location)) physical->device = device_of(prop.location.id);
    if (physical->device != nullptr && prop.requestedHandleTypes == CU_MEM_HANDLE_TYPE_NONE) {
        const CUresult result = allocate_device_locked(*physical->device, size, physical->address);
        if (result != CUDA_SUCCESS) return result;
        physical->fd = physical->device->arena.fd();
        physical->offset = physical->device->arena.offset(physical->address);
    } else {
        // What other processes may be given has a file of its own.
        if (physical->device != nullptr) {
            if (!take(*physical->device, size)) return CUDA_ERROR_OUT_OF_MEMORY;
            physical->charged = size;
        }
        physical->fd = ::memfd_create("simulated-allocation", MFD_CLOEXEC);
        if (physical->fd < 0 || ::ftruncate(physical->fd, static_cast<off_t>(size)) != 0) {
            if (physical->fd >= 0) ::close(physical->fd);
            if (physical->charged != 0) give_back(*physical->device, physical->charged);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    // Not an address: handles are numbers that nobody may look into.
    *out = 0x4D4D560000000000ULL + d.next_id++;
    d.physicals[*out] = physical.release();
    return CUDA_SUCCESS;
}

// Whether [address, address + size) lies in one reservation.
bool reserved(std::uint64_t address, std::uint64_t size) {
    const auto found = find_allocation(address);
    return found != driver().allocations.end() && found->second.kind == Kind::kReserved &&
           size <= found->second.size - (address - found->first);
}

CUresult map(std::uint64_t address, std::size_t size, std::size_t offset, std::uint64_t handle) {
    Driver& d = driver();
    Physical* physical = physical_of(handle);
    REQUIRE(physical != nullptr && size > 0 && offset == 0 && size <= physical->size);
    REQUIRE(address % kBlock == 0 && size % kBlock == 0 && reserved(address, size));
    const auto next = d.mappings.lower_bound(address);
    REQUIRE(next == d.mappings.end() || next->first >= address + size);
    REQUIRE(
        next == d.mappings.begin() ||
        std::prev(next)->first + std::prev(next)->second.size <= address
    );
    void* mapped = ::mmap(
        reinterpret_cast<void*>(address),
        size,
        PROT_NONE,
        MAP_SHARED | MAP_FIXED,
        physical->fd,
        static_cast<off_t>(physical->offset)
    );
    if (mapped == MAP_FAILED) return CUDA_ERROR_UNKNOWN;
    ++physical->mappings;
    d.mappings[address] = {size, handle, physical, false};
    return CUDA_SUCCESS;
}

// Whole mappings only.
CUresult unmap(std::uint64_t address, std::size_t size) {
    Driver& d = driver();
    REQUIRE(size > 0 && reserved(address, size));
    auto it = d.mappings.lower_bound(address);
    std::uint64_t at = address;
    for (auto look = it; at < address + size; ++look) {
        REQUIRE(look != d.mappings.end() && look->first == at);
        at += look->second.size;
    }
    REQUIRE(at == address + size);
    while (it != d.mappings.end() && it->first < address + size) {
        no_access(it->first, it->second.size);
        --it->second.physical->mappings;
        drop_if_unused(it->second.handle, it->second.physical);
        it = d.mappings.erase(it);
    }
    return CUDA_SUCCESS;
}

CUresult set_access(
    std::uint64_t address, std::size_t size, const CUmemAccessDesc* access, std::size_t count
) {
    Driver& d = driver();
    REQUIRE(access != nullptr && count > 0 && reserved(address, size));
    int protection = PROT_NONE;
    for (std::size_t i = 0; i < count; ++i) {
        if (device_location(access[i].location) && device_of(access[i].location.id) == nullptr) {
            return CUDA_ERROR_INVALID_DEVICE;
        }
        REQUIRE(access[i].flags == 0 || access[i].flags == 1 || access[i].flags == 3);
        if (access[i].flags != 0) protection |= PROT_READ;
        if (access[i].flags == 3) protection |= PROT_WRITE;
    }
    auto it = d.mappings.lower_bound(address);
    std::uint64_t at = address;
    for (auto look = it; at < address + size; ++look) {
        REQUIRE(look != d.mappings.end() && look->first == at);
        at += look->second.size;
    }
    for (; it != d.mappings.end() && it->first < address + size; ++it) {
        ::mprotect(reinterpret_cast<void*>(it->first), it->second.size, protection);
        it->second.accessible = protection != PROT_NONE;
    }
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuMemGetAllocationGranularity)
(std::size_t* out, const CUmemAllocationProp* prop, CUmemAllocationGranularity_flags option) {
    ENTER();
    REQUIRE(out != nullptr && (option == 0 || option == 1));
    if (const CUresult result = check_prop(prop); result != CUDA_SUCCESS) return result;
    *out = kBlock;
    return CUDA_SUCCESS;
}
CU(cuMemAddressReserve)
(CUdeviceptr* out,
 std::size_t size,
 std::size_t alignment,
 CUdeviceptr wanted,
 unsigned long long flags) {
    ENTER();
    REQUIRE(out != nullptr && size > 0 && size % kBlock == 0 && flags == 0);
    REQUIRE((alignment & (alignment - 1)) == 0);
    const std::uint64_t align = std::max<std::uint64_t>(alignment, kBlock);
    // The wanted address is a hint, and this driver never follows it.
    (void)wanted;
    void* room = no_access(0, size + align);
    if (room == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    const auto begin = reinterpret_cast<std::uint64_t>(room);
    const std::uint64_t address = round_up(begin, align);
    if (address > begin) ::munmap(room, address - begin);
    const std::uint64_t end = begin + size + align;
    if (end > address + size)
        ::munmap(reinterpret_cast<void*>(address + size), end - address - size);
    const std::lock_guard lock(driver().mutex);
    Allocation allocation;
    allocation.size = size;
    allocation.kind = Kind::kReserved;
    allocation.id = driver().next_id++;
    driver().allocations[address] = allocation;
    *out = address;
    return CUDA_SUCCESS;
}
CU(cuMemAddressFree)(CUdeviceptr address, std::size_t size) {
    ENTER();
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    const auto found = d.allocations.find(address);
    REQUIRE(found != d.allocations.end() && found->second.kind == Kind::kReserved);
    REQUIRE(found->second.size == size);
    const auto mapped = d.mappings.lower_bound(address);
    REQUIRE(mapped == d.mappings.end() || mapped->first >= address + size);
    ::munmap(reinterpret_cast<void*>(address), size);
    d.allocations.erase(found);
    return CUDA_SUCCESS;
}
CU(cuMemCreate)
(CUmemGenericAllocationHandle* out,
 std::size_t size,
 const CUmemAllocationProp* prop,
 unsigned long long flags) {
    ENTER();
    REQUIRE(out != nullptr && size > 0 && size % kBlock == 0 && flags == 0);
    if (const CUresult result = check_prop(prop); result != CUDA_SUCCESS) return result;
    spend(driver().settings.alloc_ns);
    const std::lock_guard lock(driver().mutex);
    return create(out, size, *prop);
}
CU(cuMemRelease)(CUmemGenericAllocationHandle handle) {
    ENTER();
    const std::lock_guard lock(driver().mutex);
    Physical* physical = physical_of(handle);
    REQUIRE(physical != nullptr && physical->references > 0);
    --physical->references;
    drop_if_unused(handle, physical);
    return CUDA_SUCCESS;
}
CU(cuMemRetainAllocationHandle)(CUmemGenericAllocationHandle* out, void* address) {
    ENTER();
    REQUIRE(out != nullptr);
    Driver& d = driver();
    const auto at = reinterpret_cast<std::uint64_t>(address);
    const std::lock_guard lock(d.mutex);
    auto next = d.mappings.upper_bound(at);
    REQUIRE(next != d.mappings.begin());
    const auto& [start, mapping] = *std::prev(next);
    REQUIRE(at - start < mapping.size);
    ++mapping.physical->references;
    *out = mapping.handle;
    return CUDA_SUCCESS;
}
CU(cuMemMap)
(CUdeviceptr address,
 std::size_t size,
 std::size_t offset,
 CUmemGenericAllocationHandle handle,
 unsigned long long flags) {
    ENTER();
    REQUIRE(flags == 0);
    const std::lock_guard lock(driver().mutex);
    return map(address, size, offset, handle);
}
CU(cuMemUnmap)(CUdeviceptr address, std::size_t size) {
    ENTER();
    for (const auto& device : driver().devices) engine().wait_for_device(device.get());
    const std::lock_guard lock(driver().mutex);
    return unmap(address, size);
}
CU(cuMemSetAccess)
(CUdeviceptr address, std::size_t size, const CUmemAccessDesc* access, std::size_t count) {
    ENTER();
    const std::lock_guard lock(driver().mutex);
    return set_access(address, size, access, count);
}
CU(cuMemGetAccess)(unsigned long long* flags, const CUmemLocation* location, CUdeviceptr address) {
    ENTER();
    REQUIRE(flags != nullptr && location != nullptr);
    *flags = accessible(address, 1) ? 3 : 0;
    return CUDA_SUCCESS;
}
CU(cuMemExportToShareableHandle)
(void* out,
 CUmemGenericAllocationHandle handle,
 CUmemAllocationHandleType type,
 unsigned long long flags) {
    ENTER();
    REQUIRE(out != nullptr && flags == 0 && type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    const std::lock_guard lock(driver().mutex);
    const Physical* physical = physical_of(handle);
    REQUIRE(physical != nullptr && (physical->prop.requestedHandleTypes & type) != 0);
    const int fd = ::fcntl(physical->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return CUDA_ERROR_UNKNOWN;
    std::memcpy(out, &fd, sizeof fd);
    return CUDA_SUCCESS;
}
CU(cuMemImportFromShareableHandle)
(CUmemGenericAllocationHandle* out, void* shared, CUmemAllocationHandleType type) {
    ENTER();
    REQUIRE(out != nullptr && type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    const int fd =
        ::fcntl(static_cast<int>(reinterpret_cast<std::intptr_t>(shared)), F_DUPFD_CLOEXEC, 0);
    struct stat info {};
    if (fd < 0 || ::fstat(fd, &info) != 0 || info.st_size == 0) {
        if (fd >= 0) ::close(fd);
        return CUDA_ERROR_INVALID_VALUE;
    }
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    auto* physical = new Physical;
    physical->size = static_cast<std::uint64_t>(info.st_size);
    physical->fd = fd;
    physical->references = 1;
    physical->prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    physical->prop.requestedHandleTypes = type;
    physical->prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    *out = 0x4D4D560000000000ULL + d.next_id++;
    d.physicals[*out] = physical;
    return CUDA_SUCCESS;
}
CU(cuMemGetAllocationPropertiesFromHandle)
(CUmemAllocationProp* out, CUmemGenericAllocationHandle handle) {
    ENTER();
    REQUIRE(out != nullptr);
    const std::lock_guard lock(driver().mutex);
    const Physical* physical = physical_of(handle);
    REQUIRE(physical != nullptr);
    *out = physical->prop;
    return CUDA_SUCCESS;
}
