// Green contexts: parts of the SMs with a context handle of their own. What is allocated while one
// is current is the primary context's. The parts are not kept apart in time: the model has no use
// for that.
#include "testing/cuda/engine.h"

namespace egpu::testing::cuda {
namespace {

// The driver's description of a resource; of SMs it says how many.
struct DevResource {
    int type;
    unsigned char padding[92];
    union {
        unsigned sm_count;
        unsigned char oversize[48];
    };
};
static_assert(sizeof(DevResource) == 144);
constexpr int kSm = 1;

struct Description {
    static constexpr std::uint32_t kLive = 0x44455347;
    std::uint32_t live = 0;
    unsigned sm_count = 0;
};

struct Green {
    static constexpr std::uint32_t kLive = 0x4E455247;
    std::uint32_t live = 0;
    Context* context = nullptr;
    CUdevice device = 0;
};

Green* green_of(void* handle) {
    auto* green = static_cast<Green*>(handle);
    return green != nullptr && green->live == Green::kLive ? green : nullptr;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuDevicePrimaryCtxRetain)(CUcontext* out, CUdevice ordinal);
CU(cuDevicePrimaryCtxRelease_v2)(CUdevice ordinal);

CU(cuDeviceGetDevResource)(CUdevice ordinal, DevResource* out, int type) {
    ENTER();
    REQUIRE(out != nullptr && type == kSm);
    DEVICE(device, ordinal);
    *out = DevResource{};
    out->type = type;
    out->sm_count = card_config(*device).sm_count;
    return CUDA_SUCCESS;
}
CU(cuDevSmResourceSplitByCount)
(DevResource* groups,
 unsigned* count,
 const DevResource* input,
 DevResource* remaining,
 unsigned,
 unsigned least) {
    ENTER();
    REQUIRE(count != nullptr && input != nullptr && input->type == kSm && least > 0);
    constexpr unsigned kStep = 8;
    const unsigned size = (least + kStep - 1) / kStep * kStep;
    const unsigned possible = input->sm_count / size;
    const unsigned made = groups == nullptr || possible < *count ? possible : *count;
    *count = made;
    if (groups == nullptr) return CUDA_SUCCESS;
    if (made == 0) return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < made; ++i) {
        groups[i] = *input;
        groups[i].sm_count = size;
    }
    if (remaining != nullptr) {
        *remaining = *input;
        remaining->sm_count = input->sm_count - made * size;
    }
    return CUDA_SUCCESS;
}
CU(cuDevResourceGenerateDesc)(void** out, DevResource* resources, unsigned count) {
    ENTER();
    REQUIRE(out != nullptr && resources != nullptr && count > 0);
    Description* description = Stable<Description>::make();
    for (unsigned i = 0; i < count; ++i) description->sm_count += resources[i].sm_count;
    description->live = Description::kLive;
    *out = description;
    return CUDA_SUCCESS;
}
CU(cuGreenCtxCreate)(void** out, void* description, CUdevice ordinal, unsigned flags) {
    ENTER();
    const auto* wanted = static_cast<Description*>(description);
    REQUIRE(out != nullptr && wanted != nullptr && wanted->live == Description::kLive);
    REQUIRE(flags == 1);  // with a default stream, the only kind there is
    CUcontext primary = nullptr;
    if (const CUresult result = cuDevicePrimaryCtxRetain(&primary, ordinal);
        result != CUDA_SUCCESS) {
        return result;
    }
    Green* green = Stable<Green>::make();
    green->device = ordinal;
    if (const CUresult result = create_context(*device_of(ordinal), 0, false, green->context);
        result != CUDA_SUCCESS) {
        Stable<Green>::drop(green);
        cuDevicePrimaryCtxRelease_v2(ordinal);
        return result;
    }
    green->live = Green::kLive;
    *out = green;
    return CUDA_SUCCESS;
}
CU(cuCtxFromGreenCtx)(CUcontext* out, void* handle) {
    ENTER();
    const Green* green = green_of(handle);
    REQUIRE(out != nullptr && green != nullptr);
    *out = reinterpret_cast<CUcontext>(green->context);
    return CUDA_SUCCESS;
}
CU(cuGreenCtxDestroy)(void* handle) {
    ENTER();
    Green* green = green_of(handle);
    REQUIRE(green != nullptr);
    {
        const std::lock_guard lock(driver().mutex);
        for (auto& [address, allocation] : driver().allocations) {
            if (allocation.context == green->context)
                allocation.context = green->context->device->primary;
        }
    }
    auto& stack = context_stack();
    if (!stack.empty() && stack.back() == green->context) stack.pop_back();
    destroy_context(green->context);
    const CUdevice ordinal = green->device;
    Stable<Green>::drop(green);
    return cuDevicePrimaryCtxRelease_v2(ordinal);
}
CU(cuGreenCtxStreamCreate)(CUstream* out, void* handle, unsigned flags, int priority) {
    ENTER();
    const Green* green = green_of(handle);
    REQUIRE(out != nullptr && green != nullptr && flags == CU_STREAM_NON_BLOCKING);
    const std::lock_guard lock(engine().mutex);
    *out = reinterpret_cast<CUstream>(engine().add_stream(green->context, flags, priority));
    return CUDA_SUCCESS;
}
