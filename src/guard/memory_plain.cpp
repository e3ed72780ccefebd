// Linear, pitched and managed memory, and the free of everything that has a device address.
#include "guard/compute_hooks.h"
#include "guard/memory_account.h"
#include "guard/place.h"
#include "guard/pools.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

void free_at(CUdeviceptr address) {
    auto* real = reinterpret_cast<CUresult (*)(CUdeviceptr)>(real_function(HookId::cuMemFree_v2));
    if (real != nullptr) real(address);
}

// Remembers what was reserved and allocated; undoes both when there is no memory for that.
CUresult remember(Block& block, CUdeviceptr address) {
    block.key = address;
    Block replaced;
    if (!guard.addresses.insert(block, replaced)) [[unlikely]] {
        free_at(address);
        guard.refund(block);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (replaced.kind != BlockKind::none) [[unlikely]]
        settle_replaced(replaced);
    return CUDA_SUCCESS;
}

Block block_at(const Place& place, std::uint64_t bytes) {
    Block block;
    block.size = bytes;
    block.owner = reinterpret_cast<std::uint64_t>(place.context);
    block.device = static_cast<std::int16_t>(place.index);
    block.kind = BlockKind::plain;
    return block;
}

// Reserves, calls, and remembers. `call` allocates and leaves the address in `address`.
template <class Call>
CUresult allocate(std::uint64_t bytes, bool managed, CUdeviceptr& address, Call call) {
    const Place place = current_place();
    if (!place.known || bytes == 0) return call();
    Block block = block_at(place, bytes);
    if (!guard.reserve_stocked(place.index, bytes, managed, block.shard))
        return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call();
    if (result != CUDA_SUCCESS) {
        guard.refund(block);
        return result;
    }
    return remember(block, address);
}

// As allocate(); how much it took is known only after the call, in `actual`.
template <class Call>
CUresult allocate_pitched(
    std::uint64_t bytes, CUdeviceptr& address, std::uint64_t& actual, Call call
) {
    const Place place = current_place();
    if (!place.known || bytes == 0) return call();
    if (!guard.reserve(place.index, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call();
    if (result != CUDA_SUCCESS) {
        guard.refund(place.index, bytes);
        return result;
    }
    if (actual > bytes && !guard.reserve(place.index, actual - bytes)) {
        free_at(address);
        guard.refund(place.index, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (actual > bytes) {
        // As one amount from here on: the parts were rounded up one by one.
        const std::uint64_t parts = to_units(bytes) + to_units(actual - bytes);
        guard.refund(place.index, (parts - to_units(actual)) * kUnitBytes);
    } else {
        actual = bytes;
    }
    Block block = block_at(place, actual);
    return remember(block, address);
}

// Takes the entry out before the driver frees: another thread may be given the address at once.
bool take_allocation(CUdeviceptr address, Block& block) {
    const auto is_allocation = [](Block& there, void*) {
        return there.kind == BlockKind::plain || there.kind == BlockKind::pooled;
    };
    if (guard.addresses.take_new(address, block, own_shard())) [[likely]]
        return true;
    return guard.addresses.update(address, is_allocation, nullptr, block) &&
           (block.kind == BlockKind::plain || block.kind == BlockKind::pooled);
}

template <class Call>
CUresult release(CUdeviceptr address, Call call) {
    Block block;
    if (!take_allocation(address, block)) {
        const CUresult result = call();
        if (result == CUDA_SUCCESS && address != 0) guard.count_unknown_free();
        return result;
    }
    const CUresult result = call();
    if (result != CUDA_SUCCESS) {
        Block replaced;
        if (guard.addresses.insert(block, replaced)) settle_replaced(replaced);
        return result;
    }
    if (block.kind == BlockKind::pooled) {
        pool_block_freed(block, /*done=*/true);
    } else {
        guard.refund(block);
    }
    return result;
}

constexpr std::uint64_t kPitchGuess = 512;

}  // namespace

bool take_device_block(CUdeviceptr address, Block& block) {
    return take_allocation(address, block);
}

}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemAlloc_v2)(address, bytes));
    if (address == nullptr) return EGPU_REAL(cuMemAlloc_v2)(address, bytes);
    return allocate(bytes, false, *address, [&] {
        return EGPU_REAL(cuMemAlloc_v2)(address, bytes);
    });
}

EGPU_EXPORT CUresult cuMemAlloc(CUdeviceptr_v1* address, unsigned bytes) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemAlloc)(address, bytes));
    if (address == nullptr) return EGPU_REAL(cuMemAlloc)(address, bytes);
    CUdeviceptr wide = 0;
    return allocate(bytes, false, wide, [&] {
        const CUresult result = EGPU_REAL(cuMemAlloc)(address, bytes);
        wide = *address;
        return result;
    });
}

EGPU_EXPORT CUresult cuMemAllocManaged(CUdeviceptr* address, std::size_t bytes, unsigned flags) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemAllocManaged)(address, bytes, flags));
    if (address == nullptr) return EGPU_REAL(cuMemAllocManaged)(address, bytes, flags);
    return allocate(bytes, true, *address, [&] {
        return EGPU_REAL(cuMemAllocManaged)(address, bytes, flags);
    });
}

EGPU_EXPORT CUresult cuMemAllocPitch_v2(
    CUdeviceptr* address,
    std::size_t* pitch,
    std::size_t width,
    std::size_t height,
    unsigned element
) {
    const auto real = [&] {
        return EGPU_REAL(cuMemAllocPitch_v2)(address, pitch, width, height, element);
    };
    EGPU_UNLESS_ACTIVE(real());
    std::size_t bytes = 0;
    if (address == nullptr || pitch == nullptr ||
        __builtin_mul_overflow(
            (width + kPitchGuess - 1) / kPitchGuess * kPitchGuess, height, &bytes
        )) {
        return real();
    }
    std::uint64_t actual = 0;
    return allocate_pitched(bytes, *address, actual, [&] {
        const CUresult result = real();
        if (result == CUDA_SUCCESS) actual = *pitch * height;
        return result;
    });
}

EGPU_EXPORT CUresult cuMemAllocPitch(
    CUdeviceptr_v1* address, unsigned* pitch, unsigned width, unsigned height, unsigned element
) {
    const auto real = [&] {
        return EGPU_REAL(cuMemAllocPitch)(address, pitch, width, height, element);
    };
    EGPU_UNLESS_ACTIVE(real());
    if (address == nullptr || pitch == nullptr) return real();
    const std::uint64_t bytes =
        (std::uint64_t{width} + kPitchGuess - 1) / kPitchGuess * kPitchGuess * height;
    CUdeviceptr wide = 0;
    std::uint64_t actual = 0;
    return allocate_pitched(bytes, wide, actual, [&] {
        const CUresult result = real();
        if (result == CUDA_SUCCESS) actual = std::uint64_t{*pitch} * height;
        wide = *address;
        return result;
    });
}

EGPU_EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemFree_v2)(address));
    return release(address, [&] { return EGPU_REAL(cuMemFree_v2)(address); });
}

EGPU_EXPORT CUresult cuMemFree(CUdeviceptr_v1 address) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemFree)(address));
    return release(address, [&] { return EGPU_REAL(cuMemFree)(address); });
}
