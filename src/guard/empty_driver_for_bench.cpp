// A libcuda.so.1 that does nothing and costs nothing, so that what is measured on top of it is the
// guard. Addresses are handed out in a row and never twice: each thread has a range of its own, or,
// when egpu_addresses_in_turn is set, all have one, whose counter's line they pass to each other.
#include <atomic>
#include <cstdint>

#include "guard/cuda_abi.h"

using namespace egpu::cuda;

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT std::atomic<int> egpu_addresses_in_turn;
std::atomic<int> egpu_addresses_in_turn{0};

namespace {
alignas(128) std::atomic<std::uint64_t> next_address{0x7f0000000000};
alignas(128) std::atomic<std::uint64_t> next_range{0x700000000000};
constexpr std::uint64_t kRange = std::uint64_t{64} << 30U;
thread_local std::uint64_t next_of_thread = 0;
constexpr std::uint64_t kTotal = std::uint64_t{80} << 30U;
}  // namespace

EXPORT CUresult cuInit(unsigned) {
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int* count) {
    *count = 1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    *device = ordinal;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice) {
    for (std::uint8_t& byte : uuid->bytes) byte = 1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int* value, int, CUdevice) {
    *value = 100;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
    *context = reinterpret_cast<CUcontext>(0x1000);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = reinterpret_cast<CUcontext>(0x1000);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
    *device = 0;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
    const std::uint64_t size = (bytes + 511) / 512 * 512;
    if (egpu_addresses_in_turn.load(std::memory_order_relaxed) != 0) {
        *address = next_address.fetch_add(size, std::memory_order_relaxed);
        return CUDA_SUCCESS;
    }
    if (next_of_thread == 0) next_of_thread = next_range.fetch_add(kRange);
    *address = next_of_thread;
    next_of_thread += size;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr) {
    return CUDA_SUCCESS;
}
EXPORT CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    *free = *total = kTotal;
    return CUDA_SUCCESS;
}
EXPORT CUresult
cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**) {
    return CUDA_SUCCESS;
}
// Work takes until it is asked for the second time whether it is done, and no time by the card's
// clock.
namespace {
std::atomic<int> asked[4096];
std::atomic<int>& state_of(CUevent event) {
    return asked[reinterpret_cast<std::uintptr_t>(event) % 4096];
}
}  // namespace
EXPORT CUresult cuEventCreate(CUevent* event, unsigned) {
    static std::atomic<std::uintptr_t> next{1};
    *event = reinterpret_cast<CUevent>(next.fetch_add(1));
    return CUDA_SUCCESS;
}
EXPORT CUresult cuEventDestroy_v2(CUevent) {
    return CUDA_SUCCESS;
}
EXPORT CUresult cuEventRecord(CUevent event, CUstream) {
    state_of(event) = 0;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuEventQuery(CUevent event) {
    return state_of(event).fetch_add(1) == 0 ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}
EXPORT CUresult cuEventElapsedTime(float* ms, CUevent, CUevent) {
    *ms = 0.0001F;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamIsCapturing(CUstream, int* status) {
    *status = 0;
    return CUDA_SUCCESS;
}
