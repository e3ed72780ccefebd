// Memory that another API of the same process allocated on the card (Vulkan, EGL) and CUDA imports:
// no hook saw it being made, so it is charged while it is imported. What other CUDA programs share
// (IPC, shareable handles) comes by other functions and is charged to its exporter.
#include "guard/place.h"

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult
cuImportExternalMemory(CUexternalMemory* memory, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* desc) {
    const auto real = [&] { return EGPU_REAL(cuImportExternalMemory)(memory, desc); };
    EGPU_UNLESS_ACTIVE(real());
    if (memory == nullptr || desc == nullptr || desc->size == 0) return real();
    const Place place = current_place();
    if (!place.known) return real();
    if (!guard.reserve(place.index, desc->size)) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = real();
    if (result != CUDA_SUCCESS) {
        guard.refund(place.index, desc->size);
        return result;
    }
    Block block;
    block.key = reinterpret_cast<std::uint64_t>(*memory);
    block.size = desc->size;
    block.device = static_cast<std::int16_t>(place.index);
    block.kind = BlockKind::external;
    Block replaced;
    // What cannot be remembered stays charged: its file descriptor is the driver's now.
    if (guard.objects.insert(block, replaced)) settle_replaced(replaced);
    return result;
}

EGPU_EXPORT CUresult cuDestroyExternalMemory(CUexternalMemory memory) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuDestroyExternalMemory)(memory));
    const auto key = reinterpret_cast<std::uint64_t>(memory);
    Block block;
    const auto is_external = [](Block& there, void*) { return there.kind == BlockKind::external; };
    const bool known =
        guard.objects.update(key, is_external, nullptr, block) && block.kind == BlockKind::external;
    const CUresult result = EGPU_REAL(cuDestroyExternalMemory)(memory);
    if (!known) return result;
    if (result == CUDA_SUCCESS) {
        guard.refund(block);
    } else {
        Block replaced;
        if (guard.objects.insert(block, replaced)) settle_replaced(replaced);
    }
    return result;
}
