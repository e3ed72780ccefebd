// Memory of another process: legacy IPC handles, and memory imported as a file descriptor. It is
// charged to who allocated it.
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

struct Handle {
    std::uint64_t magic;
    std::int64_t pid;
    std::int64_t fd;
    std::uint64_t offset;
    std::uint64_t size;
};
constexpr std::uint64_t kMagic = 0x4350494D49534755ULL;
static_assert(sizeof(Handle) <= sizeof(CUipcMemHandle));
constexpr std::uint64_t kPage = 4096;

struct External {
    static constexpr std::uint32_t kLive = 0x4D545845;
    std::uint32_t live = 0;
    int fd = -1;
    std::uint64_t size = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> buffers;
};

// The driver's descriptions.
struct ExternalMemoryHandle {
    int type;
    union {
        int fd;
        struct {
            void* handle;
            const void* name;
        } win32;
    } handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(ExternalMemoryHandle) == 104);
struct ExternalMemoryBuffer {
    unsigned long long offset;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(ExternalMemoryBuffer) == 88);
constexpr int kOpaqueFd = 1;

External* external_of(CUextMemory handle) {
    auto* external = reinterpret_cast<External*>(handle);
    return external != nullptr && external->live == External::kLive ? external : nullptr;
}

void add(Context* context, std::uint64_t address, std::uint64_t size, Kind kind, int fd) {
    Allocation allocation;
    allocation.size = size;
    allocation.kind = kind;
    allocation.device = context->device;
    allocation.context = context;
    allocation.import_fd = fd;
    allocation.id = driver().next_id++;
    const std::lock_guard lock(driver().mutex);
    driver().allocations[address] = allocation;
}

CUresult open_handle(CUdeviceptr* out, const CUipcMemHandle& shared, unsigned flags) {
    REQUIRE(out != nullptr && flags == 1);  // lazy peer access
    CONTEXT(context);
    Handle handle{};
    std::memcpy(&handle, &shared, sizeof handle);
    REQUIRE(handle.magic == kMagic && handle.size > 0);
    if (handle.pid == ::getpid()) return CUDA_ERROR_INVALID_CONTEXT;  // only for other processes
    const std::string path =
        "/proc/" + std::to_string(handle.pid) + "/fd/" + std::to_string(handle.fd);
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    const std::uint64_t page = handle.offset / kPage * kPage;
    void* mapped = ::mmap(
        nullptr,
        handle.size + (handle.offset - page),
        PROT_READ | PROT_WRITE,
        MAP_SHARED,
        fd,
        static_cast<off_t>(page)
    );
    ::close(fd);
    REQUIRE(mapped != MAP_FAILED);
    *out = reinterpret_cast<std::uint64_t>(mapped) + (handle.offset - page);
    add(context, *out, handle.size, Kind::kIpc, -1);
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuIpcGetMemHandle)(CUipcMemHandle* out, CUdeviceptr address) {
    ENTER();
    REQUIRE(out != nullptr);
    const std::lock_guard lock(driver().mutex);
    const auto found = find_allocation(address);
    REQUIRE(found != driver().allocations.end() && found->second.kind == Kind::kDevice);
    REQUIRE(found->second.flags == 0);
    const Arena& arena = found->second.device->arena;
    const Handle handle{
        kMagic, ::getpid(), arena.fd(), arena.offset(found->first), found->second.size};
    std::memset(out, 0, sizeof *out);
    std::memcpy(out, &handle, sizeof handle);
    return CUDA_SUCCESS;
}
CU(cuIpcOpenMemHandle)(CUdeviceptr* out, CUipcMemHandle handle, unsigned flags) {
    ENTER();
    return open_handle(out, handle, flags);
}
CU(cuIpcOpenMemHandle_v2)(CUdeviceptr* out, CUipcMemHandle handle, unsigned flags) {
    ENTER();
    return open_handle(out, handle, flags);
}
CU(cuIpcCloseMemHandle)(CUdeviceptr address) {
    ENTER();
    Driver& d = driver();
    for (const auto& device : d.devices) engine().wait_for_device(device.get());
    const std::lock_guard lock(d.mutex);
    const auto found = d.allocations.find(address);
    REQUIRE(found != d.allocations.end() && found->second.kind == Kind::kIpc);
    const std::uint64_t page = address / kPage * kPage;
    ::munmap(reinterpret_cast<void*>(page), found->second.size + (address - page));
    d.allocations.erase(found);
    return CUDA_SUCCESS;
}
CU(cuIpcGetEventHandle)(CUipcEventHandle* out, CUevent) {
    ENTER();
    REQUIRE(out != nullptr);
    return CUDA_ERROR_NOT_SUPPORTED;
}
CU(cuIpcOpenEventHandle)(CUevent* out, CUipcEventHandle) {
    ENTER();
    REQUIRE(out != nullptr);
    return CUDA_ERROR_NOT_SUPPORTED;
}

CU(cuImportExternalMemory)(CUextMemory* out, const ExternalMemoryHandle* handle) {
    ENTER();
    REQUIRE(out != nullptr && handle != nullptr && handle->size > 0);
    CONTEXT(context);
    if (handle->type != kOpaqueFd) return CUDA_ERROR_NOT_SUPPORTED;
    struct stat info {};
    REQUIRE(::fstat(handle->handle.fd, &info) == 0);
    REQUIRE(static_cast<unsigned long long>(info.st_size) >= handle->size);
    External* external = Stable<External>::make();
    external->fd = handle->handle.fd;  // the driver's from now on
    external->size = handle->size;
    external->live = External::kLive;
    *out = reinterpret_cast<CUextMemory>(external);
    return CUDA_SUCCESS;
}
CU(cuExternalMemoryGetMappedBuffer)
(CUdeviceptr* out, CUextMemory handle, const ExternalMemoryBuffer* buffer) {
    ENTER();
    External* external = external_of(handle);
    if (external == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    REQUIRE(out != nullptr && buffer != nullptr && buffer->size > 0 && buffer->offset % kPage == 0);
    REQUIRE(buffer->size <= external->size && buffer->offset <= external->size - buffer->size);
    CONTEXT(context);
    void* mapped = ::mmap(
        nullptr,
        buffer->size,
        PROT_READ | PROT_WRITE,
        MAP_SHARED,
        external->fd,
        static_cast<off_t>(buffer->offset)
    );
    if (mapped == MAP_FAILED) return CUDA_ERROR_UNKNOWN;
    *out = reinterpret_cast<std::uint64_t>(mapped);
    add(context, *out, buffer->size, Kind::kExternal, -1);
    external->buffers.emplace_back(*out, buffer->size);
    return CUDA_SUCCESS;
}
CU(cuDestroyExternalMemory)(CUextMemory handle) {
    ENTER();
    External* external = external_of(handle);
    if (external == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    {
        const std::lock_guard lock(driver().mutex);
        for (const auto& [address, size] : external->buffers) {
            ::munmap(reinterpret_cast<void*>(address), size);
            driver().allocations.erase(address);
        }
    }
    ::close(external->fd);
    Stable<External>::drop(external);
    return CUDA_SUCCESS;
}
