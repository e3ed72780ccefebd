// What is known about an address.
#include <cstring>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

enum Attribute : int {
    kContext = 1,
    kMemoryType = 2,
    kDevicePointer = 3,
    kHostPointer = 4,
    kSyncMemops = 6,
    kBufferId = 7,
    kIsManaged = 8,
    kDeviceOrdinal = 9,
    kLegacyIpc = 10,
    kRangeStart = 11,
    kRangeSize = 12,
    kMapped = 13,
    kHandleTypes = 14,
    kAccessFlags = 16,
    kMempool = 17,
};
constexpr unsigned kTypeHost = 1;
constexpr unsigned kTypeDevice = 2;

bool on_host(const Allocation& allocation) {
    return allocation.kind == Kind::kHost || allocation.kind == Kind::kRegistered;
}

template <class T>
CUresult put(void* out, T value) {
    std::memcpy(out, &value, sizeof value);
    return CUDA_SUCCESS;
}

// Under the mutex.
CUresult answer(
    void* out, int attribute, std::uint64_t address, std::uint64_t start, const Allocation& found
) {
    switch (attribute) {
        case kContext:
            return put(out, found.context);
        case kMemoryType:
            return put(out, on_host(found) ? kTypeHost : kTypeDevice);
        case kDevicePointer:
            return put(out, address);
        case kHostPointer:
            if (!on_host(found) && found.kind != Kind::kManaged) return CUDA_ERROR_INVALID_VALUE;
            return put(out, address);
        case kSyncMemops:
            return put(out, 0);
        case kBufferId:
            return put(out, static_cast<unsigned long long>(found.id));
        case kIsManaged:
            return put(out, found.kind == Kind::kManaged ? 1U : 0U);
        case kDeviceOrdinal:
            return put(out, found.device == nullptr ? -1 : found.device->ordinal);
        case kLegacyIpc:
            return put(out, found.kind == Kind::kDevice ? 1U : 0U);
        case kRangeStart:
            return put(out, start);
        case kRangeSize:
            return put(out, static_cast<std::size_t>(found.size));
        case kMapped:
            return put(out, 1U);
        case kHandleTypes:
            return put(
                out,
                found.pool == nullptr ? 0ULL
                                      : static_cast<std::uint64_t>(found.pool->props.handleTypes)
            );
        case kAccessFlags:
            return put(out, 3U);
        case kMempool:
            return put(out, found.pool);
        default:
            return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult ask(void* out, int attribute, std::uint64_t address) {
    Driver& d = driver();
    const std::lock_guard lock(d.mutex);
    const auto found = find_allocation(address);
    if (found == d.allocations.end()) return CUDA_ERROR_INVALID_VALUE;
    return answer(out, attribute, address, found->first, found->second);
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuPointerGetAttribute)(void* out, int attribute, CUdeviceptr address) {
    ENTER();
    REQUIRE(out != nullptr);
    return ask(out, attribute, address);
}
CU(cuPointerGetAttributes)(unsigned count, int* attributes, void** out, CUdeviceptr address) {
    ENTER();
    REQUIRE(attributes != nullptr && out != nullptr);
    for (unsigned i = 0; i < count; ++i) {
        // Of an address that is not the driver's: zeros, and success.
        if (ask(out[i], attributes[i], address) == CUDA_SUCCESS) continue;
        switch (attributes[i]) {
            case kContext:
            case kDevicePointer:
            case kHostPointer:
            case kBufferId:
            case kRangeStart:
            case kRangeSize:
            case kHandleTypes:
            case kMempool:
                put(out[i], std::uint64_t{0});
                break;
            case kDeviceOrdinal:
                put(out[i], -2);
                break;
            default:
                put(out[i], 0);
                break;
        }
    }
    return CUDA_SUCCESS;
}
CU(cuPointerSetAttribute)(const void* value, int attribute, CUdeviceptr address) {
    ENTER();
    REQUIRE(value != nullptr && attribute == kSyncMemops);
    const std::lock_guard lock(driver().mutex);
    return find_allocation(address) == driver().allocations.end() ? CUDA_ERROR_INVALID_VALUE
                                                                  : CUDA_SUCCESS;
}
