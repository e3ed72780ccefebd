// Contexts: made, primary, current.
#include <algorithm>

#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {

std::vector<Context*>& context_stack() {
    thread_local std::vector<Context*> stack;
    return stack;
}

bool is_live(const Context* context) {
    return context != nullptr && context->live == Context::kLive;
}

Context* current_context(CUresult& result) {
    const auto& stack = context_stack();
    if (stack.empty() || stack.back() == nullptr) {
        result = CUDA_ERROR_INVALID_CONTEXT;
        return nullptr;
    }
    if (!is_live(stack.back())) {
        result = CUDA_ERROR_CONTEXT_IS_DESTROYED;
        return nullptr;
    }
    return stack.back();
}

CUresult create_context(Device& device, unsigned flags, bool primary, Context*& out) {
    Driver& d = driver();
    const std::uint64_t charge = d.settings.context_mib << 20U;
    if (!take(device, charge)) return CUDA_ERROR_OUT_OF_MEMORY;
    {
        // A context that could not compute would be found out late.
        SharedNode::Card card(*d.shared, device.unit, card_config(device));
        if (!card || card.client() < 0) {
            give_back(device, charge);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    spend(d.settings.context_ms * 1'000'000);
    d.shared->add_context(device.unit, 1);
    Context* context = Stable<Context>::make();
    context->device = &device;
    context->primary = primary;
    context->flags = flags;
    context->charged = charge;
    context->id = d.next_id++;
    context->attached = 1;
    context->live = Context::kLive;
    const std::lock_guard lock(d.mutex);
    d.contexts.insert(context);
    out = context;
    return CUDA_SUCCESS;
}

void destroy_context(Context* context) {
    Driver& d = driver();
    engine().wait_for(context);
    {
        const std::lock_guard lock(engine().mutex);
        const std::set<Stream*> streams = context->streams;
        for (Stream* stream : streams) engine().close_stream(stream);
    }
    forget_context_modules(context);
    forget_context_arrays(context);
    forget_context_memory(context);
    settle_pools(*context->device);
    const std::lock_guard lock(d.mutex);
    d.contexts.erase(context);
    give_back(*context->device, context->charged);
    d.shared->add_context(context->device->unit, -1);
    Stable<Context>::drop(context);
}

namespace {

Context* context_from(CUcontext handle) {
    return reinterpret_cast<Context*>(handle);
}

CUcontext handle_of(Context* context) {
    return reinterpret_cast<CUcontext>(context);
}

CUresult make(CUcontext* out, unsigned flags, CUdevice ordinal) {
    REQUIRE(out != nullptr && (flags & ~0x7FU) == 0);
    DEVICE(device, ordinal);
    Context* context = nullptr;
    if (const CUresult result = create_context(*device, flags, false, context);
        result != CUDA_SUCCESS) {
        return result;
    }
    context_stack().push_back(context);
    *out = handle_of(context);
    return CUDA_SUCCESS;
}

CUresult destroy(CUcontext handle) {
    Context* context = context_from(handle);
    if (!is_live(context) || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
    auto& stack = context_stack();
    if (!stack.empty() && stack.back() == context) stack.pop_back();
    destroy_context(context);
    return CUDA_SUCCESS;
}

CUresult retain(CUcontext* out, CUdevice ordinal) {
    REQUIRE(out != nullptr);
    DEVICE(device, ordinal);
    static auto* mutex = new std::mutex;
    const std::lock_guard lock(*mutex);
    if (device->primary == nullptr) {
        const CUresult result =
            create_context(*device, device->primary_flags, true, device->primary);
        if (result != CUDA_SUCCESS) return result;
    }
    ++device->primary_references;
    *out = handle_of(device->primary);
    return CUDA_SUCCESS;
}

CUresult reset(CUdevice ordinal, bool force) {
    DEVICE(device, ordinal);
    if (!force && device->primary_references == 0) return CUDA_ERROR_INVALID_CONTEXT;
    if (!force && --device->primary_references > 0) return CUDA_SUCCESS;
    device->primary_references = 0;
    if (Context* context = std::exchange(device->primary, nullptr)) destroy_context(context);
    return CUDA_SUCCESS;
}

CUresult set_primary_flags(CUdevice ordinal, unsigned flags) {
    DEVICE(device, ordinal);
    device->primary_flags = flags;
    if (device->primary != nullptr) device->primary->flags = flags;
    return CUDA_SUCCESS;
}

CUresult push(CUcontext handle) {
    Context* context = context_from(handle);
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    context_stack().push_back(context);
    return CUDA_SUCCESS;
}

CUresult pop(CUcontext* out) {
    auto& stack = context_stack();
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (out != nullptr) *out = handle_of(stack.back());
    stack.pop_back();
    return CUDA_SUCCESS;
}

std::size_t default_limit(int limit) {
    switch (limit) {
        case 0:  // stack
            return 1024;
        case 1:  // printf
            return 1 << 20;
        case 2:  // malloc heap
            return 8 << 20;
        case 5:  // L2 fetch granularity
            return 64;
        default:
            return 0;
    }
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuCtxCreate)(CUcontext* out, unsigned flags, CUdevice device) {
    ENTER();
    return make(out, flags, device);
}
CU(cuCtxCreate_v2)(CUcontext* out, unsigned flags, CUdevice device) {
    ENTER();
    return make(out, flags, device);
}
CU(cuCtxCreate_v3)
(CUcontext* out, CUexecAffinityParam* affinity, int count, unsigned flags, CUdevice device) {
    ENTER();
    REQUIRE(count >= 0 && (count == 0 || affinity != nullptr));
    if (count > 0) return CUDA_ERROR_NOT_SUPPORTED;  // only under MPS
    return make(out, flags, device);
}
CU(cuCtxCreate_v4)(CUcontext* out, CUctxCreateParams* params, unsigned flags, CUdevice device) {
    ENTER();
    if (params != nullptr && (params->numExecAffinityParams > 0 || params->cigParams != nullptr)) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    return make(out, flags, device);
}
CU(cuCtxDestroy)(CUcontext context) {
    ENTER();
    return destroy(context);
}
CU(cuCtxDestroy_v2)(CUcontext context) {
    ENTER();
    return destroy(context);
}
CU(cuCtxAttach)(CUcontext* out, unsigned flags) {
    ENTER();
    REQUIRE(out != nullptr && flags == 0);
    CONTEXT(context);
    ++context->attached;
    *out = reinterpret_cast<CUcontext>(context);
    return CUDA_SUCCESS;
}
CU(cuCtxDetach)(CUcontext handle) {
    ENTER();
    Context* context = context_from(handle);
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    return --context->attached > 0 ? CUDA_SUCCESS : destroy(handle);
}

CU(cuDevicePrimaryCtxRetain)(CUcontext* out, CUdevice device) {
    ENTER();
    return retain(out, device);
}
CU(cuDevicePrimaryCtxRelease)(CUdevice device) {
    ENTER();
    return reset(device, false);
}
CU(cuDevicePrimaryCtxRelease_v2)(CUdevice device) {
    ENTER();
    return reset(device, false);
}
CU(cuDevicePrimaryCtxReset)(CUdevice device) {
    ENTER();
    return reset(device, true);
}
CU(cuDevicePrimaryCtxReset_v2)(CUdevice device) {
    ENTER();
    return reset(device, true);
}
CU(cuDevicePrimaryCtxSetFlags)(CUdevice device, unsigned flags) {
    ENTER();
    return set_primary_flags(device, flags);
}
CU(cuDevicePrimaryCtxSetFlags_v2)(CUdevice device, unsigned flags) {
    ENTER();
    return set_primary_flags(device, flags);
}
CU(cuDevicePrimaryCtxGetState)(CUdevice ordinal, unsigned* flags, int* active) {
    ENTER();
    REQUIRE(flags != nullptr && active != nullptr);
    DEVICE(device, ordinal);
    *flags = device->primary_flags;
    *active = device->primary != nullptr ? 1 : 0;
    return CUDA_SUCCESS;
}

CU(cuCtxPushCurrent)(CUcontext context) {
    ENTER();
    return push(context);
}
CU(cuCtxPushCurrent_v2)(CUcontext context) {
    ENTER();
    return push(context);
}
CU(cuCtxPopCurrent)(CUcontext* out) {
    ENTER();
    return pop(out);
}
CU(cuCtxPopCurrent_v2)(CUcontext* out) {
    ENTER();
    return pop(out);
}
CU(cuCtxSetCurrent)(CUcontext handle) {
    ENTER();
    Context* context = context_from(handle);
    auto& stack = context_stack();
    if (context == nullptr) {
        if (!stack.empty()) stack.pop_back();
        return CUDA_SUCCESS;
    }
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    if (stack.empty()) {
        stack.push_back(context);
    } else {
        stack.back() = context;
    }
    return CUDA_SUCCESS;
}
CU(cuCtxGetCurrent)(CUcontext* out) {
    ENTER();
    REQUIRE(out != nullptr);
    const auto& stack = context_stack();
    *out = stack.empty() ? nullptr : reinterpret_cast<CUcontext>(stack.back());
    return CUDA_SUCCESS;
}
CU(cuCtxGetDevice)(CUdevice* out) {
    ENTER();
    REQUIRE(out != nullptr);
    CONTEXT(context);
    *out = context->device->ordinal;
    return CUDA_SUCCESS;
}
CU(cuCtxGetDevice_v2)(CUdevice* out, CUcontext handle) {
    ENTER();
    REQUIRE(out != nullptr);
    CUresult result = CUDA_ERROR_INVALID_CONTEXT;
    const Context* context = handle != nullptr ? context_from(handle) : current_context(result);
    if (!is_live(context)) return result;
    *out = context->device->ordinal;
    return CUDA_SUCCESS;
}
CU(cuCtxGetFlags)(unsigned* flags) {
    ENTER();
    REQUIRE(flags != nullptr);
    CONTEXT(context);
    *flags = context->flags;
    return CUDA_SUCCESS;
}
CU(cuCtxSetFlags)(unsigned flags) {
    ENTER();
    CONTEXT(context);
    context->flags = flags;
    return CUDA_SUCCESS;
}
CU(cuCtxGetId)(CUcontext handle, unsigned long long* id) {
    ENTER();
    REQUIRE(id != nullptr);
    CUresult result = CUDA_SUCCESS;
    Context* context = handle != nullptr ? context_from(handle) : current_context(result);
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    *id = context->id;
    return CUDA_SUCCESS;
}
CU(cuCtxGetApiVersion)(CUcontext handle, unsigned* version) {
    ENTER();
    REQUIRE(version != nullptr);
    if (handle != nullptr && !is_live(context_from(handle))) return CUDA_ERROR_INVALID_CONTEXT;
    *version = 3020;
    return CUDA_SUCCESS;
}
namespace {
CUresult synchronise(Context* context) {
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    engine().wait_for(context);
    settle_pools(*context->device);
    return CUDA_SUCCESS;
}
}  // namespace
CU(cuCtxSynchronize)() {
    ENTER();
    CONTEXT(context);
    return synchronise(context);
}
CU(cuCtxSynchronize_v2)(CUcontext handle) {
    ENTER();
    CUresult result = CUDA_ERROR_INVALID_CONTEXT;
    Context* context = handle != nullptr ? context_from(handle) : current_context(result);
    return is_live(context) ? synchronise(context) : result;
}
CU(cuCtxSetLimit)(int limit, std::size_t value) {
    ENTER();
    REQUIRE(limit >= 0 && limit < 11);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    context->limits[limit] = value;
    return CUDA_SUCCESS;
}
CU(cuCtxGetLimit)(std::size_t* value, int limit) {
    ENTER();
    REQUIRE(value != nullptr && limit >= 0 && limit < 11);
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    const auto found = context->limits.find(limit);
    *value = found == context->limits.end() ? default_limit(limit) : found->second;
    return CUDA_SUCCESS;
}
CU(cuCtxGetCacheConfig)(int* config) {
    ENTER();
    REQUIRE(config != nullptr);
    *config = 0;
    return CUDA_SUCCESS;
}
CU(cuCtxSetCacheConfig)(int config) {
    ENTER();
    REQUIRE(config >= 0 && config <= 3);
    return CUDA_SUCCESS;
}
CU(cuCtxGetSharedMemConfig)(int* config) {
    ENTER();
    REQUIRE(config != nullptr);
    *config = 1;
    return CUDA_SUCCESS;
}
CU(cuCtxSetSharedMemConfig)(int config) {
    ENTER();
    REQUIRE(config >= 0 && config <= 2);
    return CUDA_SUCCESS;
}
CU(cuCtxGetStreamPriorityRange)(int* least, int* greatest) {
    ENTER();
    CONTEXT(context);
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return CUDA_SUCCESS;
}
CU(cuCtxResetPersistingL2Cache)() {
    ENTER();
    CONTEXT(context);
    return CUDA_SUCCESS;
}
CU(cuCtxEnablePeerAccess)(CUcontext handle, unsigned flags) {
    ENTER();
    REQUIRE(flags == 0);
    CONTEXT(context);
    Context* peer = context_from(handle);
    if (!is_live(peer) || peer->device == context->device) return CUDA_ERROR_INVALID_CONTEXT;
    const std::lock_guard lock(driver().mutex);
    return context->peers.insert(peer).second ? CUDA_SUCCESS : kPeerAlreadyEnabled;
}
CU(cuCtxDisablePeerAccess)(CUcontext handle) {
    ENTER();
    CONTEXT(context);
    const std::lock_guard lock(driver().mutex);
    return context->peers.erase(context_from(handle)) == 1 ? CUDA_SUCCESS : kPeerNotEnabled;
}
