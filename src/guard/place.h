// Where the calling thread's work goes: its current context and card.
#pragma once

#include "guard/cuda_abi.h"
#include "guard/driver.h"
#include "guard/green_contexts.h"
#include "guard/guard.h"

namespace egpu::guard {

struct Place {
    cuda::CUcontext context = nullptr;
    cuda::CUdevice device = 0;
    int index = kNotListed;
    bool known = false;  // false: no current context; the driver will say so itself
};

inline Place current_place() {
    Place place;
    if (driver.CtxGetCurrent(&place.context) != cuda::CUDA_SUCCESS || place.context == nullptr)
        return place;
    place.device = guard.sole_device();
    if (place.device < 0 && driver.CtxGetDevice(&place.device) != cuda::CUDA_SUCCESS) return place;
    place.context = owning_context(place.context);
    place.index = guard.index_of(place.device);
    place.known = true;
    return place;
}

// Flavour of the null stream, as an index into Driver's pairs.
enum class Null : unsigned { legacy = 0, per_thread = 1 };

// `unknown`: the question failed, as it does on the legacy stream while another one captures.
enum class Capture { none, active, unknown };

inline Capture capture_of(cuda::CUstream stream, Null null) {
    int status = cuda::CU_STREAM_CAPTURE_STATUS_NONE;
    const cuda::CUresult result =
        driver.StreamIsCapturing[static_cast<unsigned>(null)](stream, &status);
    if (result == cuda::CUDA_ERROR_NOT_FOUND) return Capture::none;  // a driver without capture
    if (result != cuda::CUDA_SUCCESS) return Capture::unknown;
    return status == cuda::CU_STREAM_CAPTURE_STATUS_NONE ? Capture::none : Capture::active;
}

// What a hook answers while there is nothing to limit, or CUDA was refused.
#define EGPU_UNLESS_ACTIVE(pass)                     \
    if (!::egpu::guard::guard.active()) [[unlikely]] \
    return ::egpu::guard::guard.refused() ? ::egpu::cuda::CUDA_ERROR_SYSTEM_NOT_READY : (pass)

// A block that the driver gave out again under the same key was gone without our seeing it.
inline void settle_replaced(const Block& replaced) {
    if (replaced.kind == BlockKind::plain || replaced.kind == BlockKind::array ||
        replaced.kind == BlockKind::external) {
        guard.refund(replaced);
    }
}

}  // namespace egpu::guard
