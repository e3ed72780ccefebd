// Contexts: linear memory and arrays belong to one and are gone with it, without any call to free
// them.
#include "guard/compute_hooks.h"
#include "guard/green_contexts.h"
#include "guard/place.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

// As cuDevicePrimaryCtxRetain told it; the handle is needed when the context is gone already.
constinit std::atomic<CUcontext> primary[kMaxOrdinals] = {};

// Held while a context ends and what it held is given back. The driver gives its handle out again
// at once: whoever is given one waits until nobody looks for the old one's memory.
constinit Lock ending;

void wait_for_endings() {
    const Held none_ends(ending);
}

void context_is_gone(CUcontext context) {
    if (context == nullptr) return;
    auto key = reinterpret_cast<std::uint64_t>(context);
    const auto is_in = [](const Block& block, void* wanted) {
        return (block.kind == BlockKind::plain || block.kind == BlockKind::array) &&
               block.owner == *static_cast<std::uint64_t*>(wanted);
    };
    const auto gone = [](const Block& block, void*) { guard.refund(block); };
    guard.addresses.take_if(is_in, gone, &key);
    guard.objects.take_if(is_in, gone, &key);
    compute_context_gone(context);
}

CUresult destroy(CUcontext context, HookId id) {
    using Call = CUresult (*)(CUcontext);
    const auto real = real_as<Call>(id);
    EGPU_UNLESS_ACTIVE(real(context));
    const Held held(ending);
    const CUresult result = real(context);
    if (result == CUDA_SUCCESS) context_is_gone(context);
    return result;
}

void gone_if_inactive(CUdevice device) {
    unsigned flags = 0;
    int is_active = 1;
    if (device >= 0 && device < kMaxOrdinals &&
        driver.PrimaryCtxGetState(device, &flags, &is_active) == CUDA_SUCCESS && is_active == 0) {
        context_is_gone(primary[device].load(std::memory_order_acquire));
    }
}

CUresult leave_primary(CUdevice device, HookId id) {
    using Call = CUresult (*)(CUdevice);
    const auto real = real_as<Call>(id);
    EGPU_UNLESS_ACTIVE(real(device));
    const Held held(ending);
    const CUresult result = real(device);
    if (result == CUDA_SUCCESS) gone_if_inactive(device);
    return result;
}

// The resources of a primary context are destroyed by a reset whoever still holds it.
CUresult reset_primary(CUdevice device, HookId id) {
    using Call = CUresult (*)(CUdevice);
    const auto real = real_as<Call>(id);
    EGPU_UNLESS_ACTIVE(real(device));
    const Held held(ending);
    const CUresult result = real(device);
    if (result == CUDA_SUCCESS && device >= 0 && device < kMaxOrdinals) {
        context_is_gone(primary[device].load(std::memory_order_acquire));
    }
    return result;
}

}  // namespace

CUcontext primary_context(CUdevice device) {
    if (device < 0 || device >= kMaxOrdinals) return nullptr;
    CUcontext known = primary[device].load(std::memory_order_acquire);
    if (known != nullptr) return known;
    using Retain = CUresult (*)(CUcontext*, CUdevice);
    using Release = CUresult (*)(CUdevice);
    if (real_as<Retain>(HookId::cuDevicePrimaryCtxRetain)(&known, device) != CUDA_SUCCESS)
        return nullptr;
    real_as<Release>(HookId::cuDevicePrimaryCtxRelease_v2)(device);
    primary[device].store(known, std::memory_order_release);
    return known;
}

void settle_primary(CUdevice device) {
    const Held held(ending);
    gone_if_inactive(device);
}

void forget_contexts() {
    ending.reset();
}

}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

// A context's own memory is measured by the agent (overhead_bytes). Here it is only refused on a
// card that the container was not given, or when CUDA was refused.
namespace egpu::guard {
namespace {

template <class Call>
CUresult create(CUdevice device, Call call) {
    EGPU_UNLESS_ACTIVE(call());
    if (guard.index_of(device) == kNotListed) return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = call();
    wait_for_endings();
    return result;
}

}  // namespace
}  // namespace egpu::guard

EGPU_EXPORT CUresult cuCtxCreate(CUcontext* context, unsigned flags, CUdevice device) {
    return create(device, [&] { return EGPU_REAL(cuCtxCreate)(context, flags, device); });
}
EGPU_EXPORT CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device) {
    return create(device, [&] { return EGPU_REAL(cuCtxCreate_v2)(context, flags, device); });
}
EGPU_EXPORT CUresult cuCtxCreate_v3(
    CUcontext* context, CUexecAffinityParam* params, int count, unsigned flags, CUdevice device
) {
    return create(device, [&] {
        return EGPU_REAL(cuCtxCreate_v3)(context, params, count, flags, device);
    });
}
EGPU_EXPORT CUresult
cuCtxCreate_v4(CUcontext* context, CUctxCreateParams* params, unsigned flags, CUdevice device) {
    return create(device, [&] {
        return EGPU_REAL(cuCtxCreate_v4)(context, params, flags, device);
    });
}
EGPU_EXPORT CUresult cuCtxDestroy(CUcontext context) {
    return destroy(context, HookId::cuCtxDestroy);
}
EGPU_EXPORT CUresult cuCtxDestroy_v2(CUcontext context) {
    return destroy(context, HookId::cuCtxDestroy_v2);
}
// Deprecated, with cuCtxAttach: the context ends when as many have let go of it as took it. It has
// to be the current one, and is not any more when it has ended.
EGPU_EXPORT CUresult cuCtxDetach(CUcontext context) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuCtxDetach)(context));
    const Held held(ending);
    CUcontext before = nullptr;
    CUcontext after = nullptr;
    driver.CtxGetCurrent(&before);
    const CUresult result = EGPU_REAL(cuCtxDetach)(context);
    if (result != CUDA_SUCCESS || before != context) return result;
    if (driver.CtxGetCurrent(&after) == CUDA_SUCCESS && after != context) context_is_gone(context);
    return result;
}
EGPU_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    const CUresult result =
        create(device, [&] { return EGPU_REAL(cuDevicePrimaryCtxRetain)(context, device); });
    if (guard.active() && result == CUDA_SUCCESS && device >= 0 && device < kMaxOrdinals) {
        primary[device].store(*context, std::memory_order_release);
    }
    return result;
}
EGPU_EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return leave_primary(device, HookId::cuDevicePrimaryCtxRelease);
}
EGPU_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    return leave_primary(device, HookId::cuDevicePrimaryCtxRelease_v2);
}
EGPU_EXPORT CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return reset_primary(device, HookId::cuDevicePrimaryCtxReset);
}
EGPU_EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    return reset_primary(device, HookId::cuDevicePrimaryCtxReset_v2);
}
