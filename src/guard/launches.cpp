// Kernel launches, of every kind: each is charged to the container's share before the driver gets
// it.
#include "guard/compute_hooks.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

[[gnu::always_inline]] inline Launch describe(
    const void* function,
    unsigned gx,
    unsigned gy,
    unsigned gz,
    unsigned bx,
    unsigned by,
    unsigned bz,
    CUstream stream,
    Null null
) {
    return Launch{function, {gx, gy, gz}, {bx, by, bz}, stream_or_default(stream, null)};
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

#define EGPU_KERNEL_PARAMETERS                                                                  \
    CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, \
        unsigned shared, CUstream stream, void **params, void **extra
#define EGPU_KERNEL_ARGUMENTS f, gx, gy, gz, bx, by, bz, shared, stream, params, extra

// The launch that programs make all the time: the hook itself calls nothing but the driver, so that
// it saves no registers for other calls.
#define EGPU_LAUNCH_KERNEL(name, null)                                                     \
    EGPU_EXPORT CUresult name(EGPU_KERNEL_PARAMETERS);                                     \
    namespace {                                                                            \
    [[gnu::noinline]] CUresult name##_slowly(EGPU_KERNEL_PARAMETERS) {                     \
        return paced_slowly(describe(f, gx, gy, gz, bx, by, bz, stream, null), [&] {       \
            return EGPU_REAL(name)(EGPU_KERNEL_ARGUMENTS);                                 \
        });                                                                                \
    }                                                                                      \
    }                                                                                      \
    EGPU_EXPORT CUresult name(EGPU_KERNEL_PARAMETERS) {                                    \
        const auto real = reinterpret_cast<decltype(&name)>(known_function(HookId::name)); \
        if (real == nullptr || !paid(describe(f, gx, gy, gz, bx, by, bz, stream, null)))   \
            [[unlikely]]                                                                   \
            return name##_slowly(EGPU_KERNEL_ARGUMENTS);                                   \
        const CUresult result = real(EGPU_KERNEL_ARGUMENTS);                               \
        return result == CUDA_SUCCESS ? result : launch_failed(result);                    \
    }
EGPU_LAUNCH_KERNEL(cuLaunchKernel, Null::legacy)
EGPU_LAUNCH_KERNEL(cuLaunchKernel_ptsz, Null::per_thread)

#define EGPU_LAUNCH_EX(name, null)                                         \
    EGPU_EXPORT CUresult name(                                             \
        const CUlaunchConfig* c, CUfunction f, void** params, void** extra \
    ) {                                                                    \
        if (c == nullptr) return EGPU_REAL(name)(c, f, params, extra);     \
        return paced(                                                      \
            describe(                                                      \
                f,                                                         \
                c->gridDimX,                                               \
                c->gridDimY,                                               \
                c->gridDimZ,                                               \
                c->blockDimX,                                              \
                c->blockDimY,                                              \
                c->blockDimZ,                                              \
                c->hStream,                                                \
                null                                                       \
            ),                                                             \
            [&] { return EGPU_REAL(name)(c, f, params, extra); }           \
        );                                                                 \
    }
EGPU_LAUNCH_EX(cuLaunchKernelEx, Null::legacy)
EGPU_LAUNCH_EX(cuLaunchKernelEx_ptsz, Null::per_thread)

#define EGPU_LAUNCH_COOPERATIVE(name, null)                                            \
    EGPU_EXPORT CUresult name(                                                         \
        CUfunction f,                                                                  \
        unsigned gx,                                                                   \
        unsigned gy,                                                                   \
        unsigned gz,                                                                   \
        unsigned bx,                                                                   \
        unsigned by,                                                                   \
        unsigned bz,                                                                   \
        unsigned shared,                                                               \
        CUstream stream,                                                               \
        void** params                                                                  \
    ) {                                                                                \
        return paced(describe(f, gx, gy, gz, bx, by, bz, stream, null), [&] {          \
            return EGPU_REAL(name)(f, gx, gy, gz, bx, by, bz, shared, stream, params); \
        });                                                                            \
    }
EGPU_LAUNCH_COOPERATIVE(cuLaunchCooperativeKernel, Null::legacy)
EGPU_LAUNCH_COOPERATIVE(cuLaunchCooperativeKernel_ptsz, Null::per_thread)

// Kernels on several cards at once: charged on the calling thread's card, by the first one's shape.
EGPU_EXPORT CUresult
cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS* list, unsigned count, unsigned flags) {
    const auto real = [&] {
        return EGPU_REAL(cuLaunchCooperativeKernelMultiDevice)(list, count, flags);
    };
    if (list == nullptr || count == 0) return real();
    const CUDA_LAUNCH_PARAMS& p = list[0];
    return paced(
        describe(
            p.function,
            p.gridDimX,
            p.gridDimY,
            p.gridDimZ,
            p.blockDimX,
            p.blockDimY,
            p.blockDimZ,
            p.hStream,
            Null::legacy
        ),
        real
    );
}

// The calls of the first CUDA versions; the block's shape was set on the function before.
EGPU_EXPORT CUresult cuLaunch(CUfunction f) {
    return paced(describe(f, 1, 1, 1, 1, 1, 1, nullptr, Null::legacy), [&] {
        return EGPU_REAL(cuLaunch)(f);
    });
}

namespace {
[[gnu::always_inline]] inline Launch old_grid(
    CUfunction f, int width, int height, CUstream stream
) {
    return describe(
        f,
        static_cast<unsigned>(width),
        static_cast<unsigned>(height),
        1,
        1,
        1,
        1,
        stream,
        Null::legacy
    );
}
}  // namespace

EGPU_EXPORT CUresult cuLaunchGrid(CUfunction f, int width, int height) {
    return paced(old_grid(f, width, height, nullptr), [&] {
        return EGPU_REAL(cuLaunchGrid)(f, width, height);
    });
}
EGPU_EXPORT CUresult cuLaunchGridAsync(CUfunction f, int width, int height, CUstream stream) {
    return paced(old_grid(f, width, height, stream), [&] {
        return EGPU_REAL(cuLaunchGridAsync)(f, width, height, stream);
    });
}
