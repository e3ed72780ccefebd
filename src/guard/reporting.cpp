// What CUDA programs are told about the size of their card: the container's part of it.
#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

struct Sizes {
    std::uint64_t free;
    std::uint64_t total;
};

Sizes as_seen(int index, Sizes card) {
    if (index < 0) return Sizes{0, card.total};
    const std::uint64_t quota = guard.quota(index);
    const std::uint64_t taken = guard.used(index) + guard.overhead(index);
    const std::uint64_t left = quota > taken ? quota - taken : 0;
    return Sizes{left < card.free ? left : card.free, quota < card.total ? quota : card.total};
}

template <class T, class Call>
CUresult memory_info(T* free, T* total, Call call) {
    EGPU_UNLESS_ACTIVE(call());
    const CUresult result = call();
    if (result != CUDA_SUCCESS || free == nullptr || total == nullptr) return result;
    const Place place = current_place();
    if (!place.known) return result;
    const Sizes seen = as_seen(place.index, Sizes{*free, *total});
    *free = static_cast<T>(seen.free);
    *total = static_cast<T>(seen.total);
    return result;
}

template <class T, class Call>
CUresult total_memory(T* bytes, CUdevice device, Call call) {
    const bool limited = guard.ready();
    if (guard.refused()) return CUDA_ERROR_SYSTEM_NOT_READY;
    const CUresult result = call();
    if (!limited || result != CUDA_SUCCESS || bytes == nullptr) return result;
    const int index = guard.index_of(device);
    const std::uint64_t quota = index < 0 ? *bytes : guard.quota(index);
    if (quota < *bytes) *bytes = static_cast<T>(quota);
    return result;
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    return memory_info(free, total, [&] { return EGPU_REAL(cuMemGetInfo_v2)(free, total); });
}
EGPU_EXPORT CUresult cuMemGetInfo(unsigned* free, unsigned* total) {
    return memory_info(free, total, [&] { return EGPU_REAL(cuMemGetInfo)(free, total); });
}
EGPU_EXPORT CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
    return total_memory(bytes, device, [&] {
        return EGPU_REAL(cuDeviceTotalMem_v2)(bytes, device);
    });
}
EGPU_EXPORT CUresult cuDeviceTotalMem(unsigned* bytes, CUdevice device) {
    return total_memory(bytes, device, [&] { return EGPU_REAL(cuDeviceTotalMem)(bytes, device); });
}
