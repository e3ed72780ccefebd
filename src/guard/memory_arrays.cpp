// Arrays and mipmapped arrays: charged by their shape, uncharged when they are destroyed.
#include "guard/array_size.h"
#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

// `made` is the handle after the call; `undo` destroys it.
template <class Handle, class Call>
CUresult create(Handle* made, std::uint64_t bytes, HookId undo, Call call) {
    const Place place = current_place();
    if (!place.known || bytes == 0) return call();
    if (!guard.reserve(place.index, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call();
    if (result != CUDA_SUCCESS) {
        guard.refund(place.index, bytes);
        return result;
    }
    Block block;
    block.key = reinterpret_cast<std::uint64_t>(*made);
    block.size = bytes;
    block.owner = reinterpret_cast<std::uint64_t>(place.context);
    block.device = static_cast<std::int16_t>(place.index);
    block.kind = BlockKind::array;
    Block replaced;
    if (!guard.objects.insert(block, replaced)) {
        using Destroy = CUresult (*)(Handle);
        real_as<Destroy>(undo)(*made);
        guard.refund(place.index, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    settle_replaced(replaced);
    return result;
}

template <class Call>
CUresult destroy(std::uint64_t key, Call call) {
    Block block;
    const auto is_array = [](Block& there, void*) { return there.kind == BlockKind::array; };
    // Sparse arrays, and arrays that are levels of others, are not in the map.
    const bool known =
        guard.objects.update(key, is_array, nullptr, block) && block.kind == BlockKind::array;
    const CUresult result = call();
    if (!known) return result;
    if (result == CUDA_SUCCESS) {
        guard.refund(block.device, block.size);
    } else {
        Block replaced;
        if (guard.objects.insert(block, replaced)) settle_replaced(replaced);
    }
    return result;
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuArrayCreate(CUarray* array, const CUDA_ARRAY_DESCRIPTOR_v1* shape) {
    const auto real = [&] { return EGPU_REAL(cuArrayCreate)(array, shape); };
    EGPU_UNLESS_ACTIVE(real());
    if (array == nullptr || shape == nullptr) return real();
    const CUDA_ARRAY3D_DESCRIPTOR full{
        shape->Width, shape->Height, 0, shape->Format, shape->NumChannels, 0};
    return create(array, array_bytes(full), HookId::cuArrayDestroy, real);
}

EGPU_EXPORT CUresult cuArrayCreate_v2(CUarray* array, const CUDA_ARRAY_DESCRIPTOR* shape) {
    const auto real = [&] { return EGPU_REAL(cuArrayCreate_v2)(array, shape); };
    EGPU_UNLESS_ACTIVE(real());
    if (array == nullptr || shape == nullptr) return real();
    const CUDA_ARRAY3D_DESCRIPTOR full{
        shape->Width, shape->Height, 0, shape->Format, shape->NumChannels, 0};
    return create(array, array_bytes(full), HookId::cuArrayDestroy, real);
}

EGPU_EXPORT CUresult cuArray3DCreate(CUarray* array, const CUDA_ARRAY3D_DESCRIPTOR_v1* shape) {
    const auto real = [&] { return EGPU_REAL(cuArray3DCreate)(array, shape); };
    EGPU_UNLESS_ACTIVE(real());
    if (array == nullptr || shape == nullptr) return real();
    const CUDA_ARRAY3D_DESCRIPTOR full{
        shape->Width, shape->Height, shape->Depth, shape->Format, shape->NumChannels, shape->Flags};
    return create(array, array_bytes(full), HookId::cuArrayDestroy, real);
}

EGPU_EXPORT CUresult cuArray3DCreate_v2(CUarray* array, const CUDA_ARRAY3D_DESCRIPTOR* shape) {
    const auto real = [&] { return EGPU_REAL(cuArray3DCreate_v2)(array, shape); };
    EGPU_UNLESS_ACTIVE(real());
    if (array == nullptr || shape == nullptr) return real();
    return create(array, array_bytes(*shape), HookId::cuArrayDestroy, real);
}

EGPU_EXPORT CUresult cuMipmappedArrayCreate(
    CUmipmappedArray* array, const CUDA_ARRAY3D_DESCRIPTOR* shape, unsigned levels
) {
    const auto real = [&] { return EGPU_REAL(cuMipmappedArrayCreate)(array, shape, levels); };
    EGPU_UNLESS_ACTIVE(real());
    if (array == nullptr || shape == nullptr) return real();
    return create(array, mipmap_bytes(*shape, levels), HookId::cuMipmappedArrayDestroy, real);
}

EGPU_EXPORT CUresult cuArrayDestroy(CUarray array) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuArrayDestroy)(array));
    return destroy(reinterpret_cast<std::uint64_t>(array), [&] {
        return EGPU_REAL(cuArrayDestroy)(array);
    });
}

EGPU_EXPORT CUresult cuMipmappedArrayDestroy(CUmipmappedArray array) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuMipmappedArrayDestroy)(array));
    return destroy(reinterpret_cast<std::uint64_t>(array), [&] {
        return EGPU_REAL(cuMipmappedArrayDestroy)(array);
    });
}
