#include "guard/green_contexts.h"

#include "guard/compute_hooks.h"
#include "guard/place.h"

namespace egpu::guard {

constinit std::atomic<int> green_contexts{0};

namespace {

using namespace egpu::cuda;

// Programs make one or a few for each card; of more than these the memory is given back when the
// process ends.
constexpr int kMost = 256;
struct Green {
    CUgreenCtx green;
    CUcontext context;  // nullptr: nobody has asked for it
    CUdevice device;
};
constinit Green greens[kMost] = {};
constinit Lock greens_lock;

void remember(CUgreenCtx green, CUdevice device) {
    const Held held(greens_lock);
    for (Green& entry : greens) {
        if (entry.green != nullptr) continue;
        entry = Green{green, nullptr, device};
        green_contexts.fetch_add(1, std::memory_order_relaxed);
        return;
    }
}

Green take(CUgreenCtx green) {
    const Held held(greens_lock);
    for (Green& entry : greens) {
        if (entry.green != green) continue;
        const Green taken = entry;
        entry = Green{};
        green_contexts.fetch_sub(1, std::memory_order_relaxed);
        return taken;
    }
    return Green{};
}

}  // namespace

CUcontext primary_behind(CUcontext current) {
    CUdevice device = -1;
    {
        const Held held(greens_lock);
        for (const Green& entry : greens) {
            if (entry.green != nullptr && entry.context == current) device = entry.device;
        }
    }
    return device < 0 ? current : primary_context(device);
}

void forget_green_contexts() {
    greens_lock.reset();
    for (Green& entry : greens) entry = Green{};
    green_contexts.store(0, std::memory_order_relaxed);
}

}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult
cuGreenCtxCreate(CUgreenCtx* green, CUdevResourceDesc desc, CUdevice device, unsigned flags) {
    const auto real = [&] { return EGPU_REAL(cuGreenCtxCreate)(green, desc, device, flags); };
    EGPU_UNLESS_ACTIVE(real());
    if (guard.index_of(device) == kNotListed) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = real();
    if (result == CUDA_SUCCESS) {
        // It holds the primary context, which the program need not have asked for.
        primary_context(device);
        remember(*green, device);
    }
    return result;
}

EGPU_EXPORT CUresult cuCtxFromGreenCtx(CUcontext* context, CUgreenCtx green) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuCtxFromGreenCtx)(context, green));
    const CUresult result = EGPU_REAL(cuCtxFromGreenCtx)(context, green);
    if (result != CUDA_SUCCESS) return result;
    const Held held(greens_lock);
    for (Green& entry : greens) {
        if (entry.green == green) entry.context = *context;
    }
    return result;
}

EGPU_EXPORT CUresult cuGreenCtxDestroy(CUgreenCtx green) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuGreenCtxDestroy)(green));
    const CUresult result = EGPU_REAL(cuGreenCtxDestroy)(green);
    if (result != CUDA_SUCCESS) return result;
    const Green gone = take(green);
    if (gone.green == nullptr) return result;
    if (gone.context != nullptr) compute_context_gone(gone.context);
    settle_primary(gone.device);
    return result;
}
