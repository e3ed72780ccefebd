// Virtual memory management: physical memory is charged when it is made, and until its last handle
// and its last mapping are gone (programs release the handle right after mapping it).
#include "guard/memory_vmm.h"

#include <initializer_list>

#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

// Held around the driver's calls, too: handle numbers and addresses are used again at once, and the
// entry must not be taken for its successor's. These calls are rare and slow.
constinit Lock vmm_lock;

bool is_unused(const Block& block) {
    return block.handles == 0 && block.mappings == 0;
}

void uncharge_if_gone(const Block& block) {
    if (is_unused(block)) guard.refund(block.device, block.size);
}

void drop_mapping(std::uint64_t handle) {
    Block block;
    const auto change = [](Block& there, void*) {
        if (there.mappings > 0) --there.mappings;
        return is_unused(there);
    };
    if (guard.handles.update(handle, change, nullptr, block)) uncharge_if_gone(block);
}

void drop_handle(std::uint64_t handle) {
    Block block;
    const auto change = [](Block& there, void*) {
        if (there.handles > 0) --there.handles;
        return is_unused(there);
    };
    if (guard.handles.update(handle, change, nullptr, block)) uncharge_if_gone(block);
}

// False when the handle is not ours (imported): it is not charged here, so nothing is counted.
bool add_mapping(std::uint64_t handle) {
    Block block;
    const auto change = [](Block& there, void*) {
        ++there.mappings;
        return false;
    };
    return guard.handles.update(handle, change, nullptr, block);
}

// A tile of a sparse array: the same place gives the same key.
std::uint64_t tile_key(const CUarrayMapInfo& info) {
    std::uint64_t key = 0xcbf29ce484222325ULL;
    const auto add = [&key](std::uint64_t value) { key = (key ^ value) * 0x100000001b3ULL; };
    add(reinterpret_cast<std::uint64_t>(info.resource.array));
    add(static_cast<std::uint64_t>(info.subresourceType));
    const auto& at = info.subresource.sparseLevel;
    for (const unsigned part :
         {at.level,
          at.layer,
          at.offsetX,
          at.offsetY,
          at.offsetZ,
          at.extentWidth,
          at.extentHeight,
          at.extentDepth}) {
        add(part);
    }
    return key;
}

void count_tile(const CUarrayMapInfo& info) {
    Block block;
    if (info.memOperationType == CU_MEM_OPERATION_TYPE_UNMAP) {
        const auto change = [](Block& there, void*) { return there.kind == BlockKind::tile; };
        if (guard.objects.update(tile_key(info), change, nullptr, block) &&
            block.kind == BlockKind::tile) {
            drop_mapping(block.owner);
        }
        return;
    }
    if (!add_mapping(info.memHandle.memHandle)) return;
    block.key = tile_key(info);
    block.owner = info.memHandle.memHandle;
    block.kind = BlockKind::tile;
    Block replaced;
    // A tile that is mapped anew lets go of what was there; one that cannot be remembered stays
    // charged.
    if (guard.objects.insert(block, replaced) && replaced.kind == BlockKind::tile)
        drop_mapping(replaced.owner);
}

CUresult map_arrays(CUarrayMapInfo* list, unsigned count, CUstream stream, Null null) {
    using Call = CUresult (*)(CUarrayMapInfo*, unsigned, CUstream);
    const auto real = real_as<Call>(
        null == Null::legacy ? HookId::cuMemMapArrayAsync : HookId::cuMemMapArrayAsync_ptsz
    );
    EGPU_UNLESS_ACTIVE(real(list, count, stream));
    const Held held(vmm_lock);
    const CUresult result = real(list, count, stream);
    if (result != CUDA_SUCCESS) return result;
    for (unsigned i = 0; i < count; ++i) count_tile(list[i]);
    return result;
}

}  // namespace

void forget_vmm() {
    vmm_lock.reset();
}

}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuMemCreate(
    CUmemGenericAllocationHandle* handle,
    std::size_t bytes,
    const CUmemAllocationProp* prop,
    unsigned long long flags
) {
    const auto real = [&] { return EGPU_REAL(cuMemCreate)(handle, bytes, prop, flags); };
    EGPU_UNLESS_ACTIVE(real());
    if (handle == nullptr || prop == nullptr || prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return real();
    const int index = guard.index_of(prop->location.id);
    if (!guard.reserve(index, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    const Held held(vmm_lock);
    const CUresult result = real();
    if (result != CUDA_SUCCESS) {
        guard.refund(index, bytes);
        return result;
    }
    Block block;
    block.key = *handle;
    block.size = bytes;
    block.handles = 1;
    block.device = static_cast<std::int16_t>(index);
    block.kind = BlockKind::physical;
    Block replaced;
    if (!guard.handles.insert(block, replaced)) {
        using Release = CUresult (*)(CUmemGenericAllocationHandle);
        real_as<Release>(HookId::cuMemRelease)(*handle);
        guard.refund(index, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    // The driver uses a number again while mappings of the memory it stood for live on: they keep
    // its charge.
    if (replaced.kind == BlockKind::physical && !is_unused(replaced)) {
        guard.handles.update(
            *handle,
            [](Block& there, void* old) {
                const auto& before = *static_cast<const Block*>(old);
                there.size += before.size;
                there.mappings += before.mappings;
                return false;
            },
            &replaced,
            block
        );
    }
    return result;
}

EGPU_EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemRelease)(handle));
    const Held held(vmm_lock);
    const CUresult result = EGPU_REAL(cuMemRelease)(handle);
    if (result == CUDA_SUCCESS) drop_handle(handle);
    return result;
}

EGPU_EXPORT CUresult
cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* address) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemRetainAllocationHandle)(handle, address));
    const Held held(vmm_lock);
    const CUresult result = EGPU_REAL(cuMemRetainAllocationHandle)(handle, address);
    if (result != CUDA_SUCCESS) return result;
    Block block;
    guard.handles.update(
        *handle,
        [](Block& there, void*) {
            ++there.handles;
            return false;
        },
        nullptr,
        block
    );
    return result;
}

// Another's memory, charged to whoever made it. A handle of our own that comes back counts as one
// more.
EGPU_EXPORT CUresult cuMemImportFromShareableHandle(
    CUmemGenericAllocationHandle* handle, void* os_handle, CUmemAllocationHandleType type
) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemImportFromShareableHandle)(handle, os_handle, type));
    const Held held(vmm_lock);
    const CUresult result = EGPU_REAL(cuMemImportFromShareableHandle)(handle, os_handle, type);
    if (result != CUDA_SUCCESS) return result;
    Block block;
    guard.handles.update(
        *handle,
        [](Block& there, void*) {
            ++there.handles;
            return false;
        },
        nullptr,
        block
    );
    return result;
}

EGPU_EXPORT CUresult cuMemMap(
    CUdeviceptr address,
    std::size_t bytes,
    std::size_t offset,
    CUmemGenericAllocationHandle handle,
    unsigned long long flags
) {
    const auto real = [&] { return EGPU_REAL(cuMemMap)(address, bytes, offset, handle, flags); };
    EGPU_UNLESS_ACTIVE(real());
    const Held held(vmm_lock);
    const bool ours = add_mapping(handle);
    const CUresult result = real();
    if (!ours) return result;
    if (result != CUDA_SUCCESS) {
        drop_mapping(handle);
        return result;
    }
    Block block;
    block.key = address;
    block.size = bytes;
    block.owner = handle;
    block.kind = BlockKind::mapping;
    Block replaced;
    if (guard.addresses.insert(block, replaced)) {
        if (replaced.kind == BlockKind::mapping) drop_mapping(replaced.owner);
        settle_replaced(replaced);
    }
    return result;
}

EGPU_EXPORT CUresult cuMemUnmap(CUdeviceptr address, std::size_t bytes) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMemUnmap)(address, bytes));
    const Held held(vmm_lock);
    const CUresult result = EGPU_REAL(cuMemUnmap)(address, bytes);
    if (result != CUDA_SUCCESS) return result;
    // A range of whole mappings, side by side; those of imported memory are not in the map, and
    // their size is not known, so the walk goes on in steps of the smallest granularity.
    constexpr std::uint64_t kStep = std::uint64_t{64} << 10U;
    for (std::uint64_t at = 0; at < bytes;) {
        Block block;
        const auto is_mapping = [](Block& there, void*) {
            return there.kind == BlockKind::mapping;
        };
        if (guard.addresses.update(address + at, is_mapping, nullptr, block) &&
            block.kind == BlockKind::mapping) {
            drop_mapping(block.owner);
            at += block.size != 0 ? block.size : kStep;
        } else {
            at += kStep;
        }
    }
    return result;
}

EGPU_EXPORT CUresult cuMemMapArrayAsync(CUarrayMapInfo* list, unsigned count, CUstream stream) {
    return map_arrays(list, count, stream, Null::legacy);
}
EGPU_EXPORT CUresult
cuMemMapArrayAsync_ptsz(CUarrayMapInfo* list, unsigned count, CUstream stream) {
    return map_arrays(list, count, stream, Null::per_thread);
}
