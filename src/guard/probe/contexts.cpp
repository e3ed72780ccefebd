// What goes with a context, and with a child of fork.
#include <cstdlib>

#include <signal.h>
#include <sys/wait.h>

#include "guard/probe/probe.h"

namespace probe {
namespace {

void scenario_contexts() {
    start();
    CUcontext context = nullptr;
    EXPECT_RESULT(cuCtxCreate(&context, 0, 0), 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    const CUDA_ARRAY_DESCRIPTOR shape{4096, 4096, CU_AD_FORMAT_FLOAT, 1};
    CUarray array = nullptr;
    EXPECT_RESULT(cuArrayCreate(&array, &shape), 0);
    EXPECT(free_now() == 660 * kMiB);
    EXPECT_RESULT(cuCtxDestroy(context), 0);
    CUcontext primary = start();
    EXPECT(free_now() == 1024 * kMiB);
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    EXPECT_RESULT(cuDevicePrimaryCtxReset(0), 0);
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&primary, 0), 0);
    EXPECT_RESULT(cuCtxSetCurrent(primary), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

// The memory that is allocated with a green context is the primary context's: it outlives the green
// one, and goes with the primary.
void scenario_green() {
    EXPECT_RESULT(cuInit(0), 0);
    struct {
        int type;
        unsigned char rest[140];
    } resource;
    CUdevResourceDesc desc = nullptr;
    EXPECT_RESULT((Function<CUdevice, void*, int>{"cuDeviceGetDevResource"}(0, &resource, 1)), 0);
    EXPECT_RESULT(
        (Function<CUdevResourceDesc*, void*, unsigned>{
            "cuDevResourceGenerateDesc"}(&desc, &resource, 1)),
        0
    );
    CUgreenCtx green = nullptr;
    EXPECT_RESULT(
        (Function<CUgreenCtx*, CUdevResourceDesc, CUdevice, unsigned>{
            "cuGreenCtxCreate"}(&green, desc, 0, 1)),
        0
    );
    CUcontext context = nullptr;
    EXPECT_RESULT((Function<CUcontext*, CUgreenCtx>{"cuCtxFromGreenCtx"}(&context, green)), 0);
    EXPECT_RESULT(cuCtxSetCurrent(context), 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 1100 * kMiB), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_RESULT(cuMemAlloc(&at, 600 * kMiB), 0);
    const CUcontext primary = start();
    EXPECT(primary != context);
    EXPECT_RESULT(Function<CUgreenCtx>{"cuGreenCtxDestroy"}(green), 0);
    EXPECT(free_now() == 424 * kMiB);
    EXPECT_RESULT(cuDevicePrimaryCtxReset(0), 0);
    start();
    EXPECT(free_now() == 1024 * kMiB);
}

// A child of fork cannot use CUDA, and whatever it does with what it inherited changes nothing for
// its parent.
void scenario_fork() {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 600 * kMiB), 0);
    // As the workers of a data loader: several, that end with exit() and run its handlers.
    constexpr int kNotInitialised = 3;  // what the driver says in such a child
    for (int worker = 0; worker < 4; ++worker) {
        const pid_t child = fork();
        if (child == 0) {
            EXPECT_RESULT(cuInit(0), kNotInitialised);
            EXPECT_RESULT(cuMemFree(at), kNotInitialised);
            CUdeviceptr more = 0;
            EXPECT_RESULT(cuMemAlloc(&more, 100 * kMiB), kNotInitialised);
            std::size_t free = 0;
            EXPECT_RESULT(cuMemGetInfo(&free, &free), kNotInitialised);
            exit(0);
        }
        int status = 0;
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
        EXPECT(free_now() == 424 * kMiB);
    }
    CUdeviceptr second = 0;
    EXPECT_RESULT(cuMemAlloc(&second, 600 * kMiB), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

// A child that starts CUDA itself has its own place in the same quota.
void scenario_fork_before_init() {
    const pid_t child = fork();
    start();
    CUdeviceptr at = 0;
    if (child == 0) {
        EXPECT_RESULT(cuMemAlloc(&at, 400 * kMiB), 0);
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    EXPECT(free_now() == 624 * kMiB);
    EXPECT_RESULT(cuMemAlloc(&at, 700 * kMiB), CUDA_ERROR_OUT_OF_MEMORY);
    kill(child, SIGKILL);
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT_RESULT(cuMemAlloc(&at, 700 * kMiB), 0);
}

}  // namespace

void add_contexts(Scenarios& to) {
    to["contexts"] = scenario_contexts;
    to["green"] = scenario_green;
    to["fork"] = scenario_fork;
    to["fork_before_init"] = scenario_fork_before_init;
}

}  // namespace probe
