// What few programs do.
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/probe/families.h"

namespace probe {
namespace {

// The calls of the first CUDA versions: a context that is counted.
void scenario_detach() {
    start();
    CUcontext context = nullptr;
    EXPECT_RESULT(cuCtxCreate(&context, 0, 0), 0);
    CUcontext again = nullptr;
    EXPECT_RESULT((Function<CUcontext*, unsigned>{"cuCtxAttach"}(&again, 0)), 0);
    Function<CUcontext> detach{"cuCtxDetach"};
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    EXPECT_RESULT(detach(again), 0);
    EXPECT(free_now() == 724 * kMiB);
    EXPECT_RESULT(detach(context), 0);
    start();
    EXPECT(free_now() == 1024 * kMiB);
}

// The last release of a primary context ends it like a reset.
void scenario_release() {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    EXPECT_RESULT(Function<CUdevice>{"cuDevicePrimaryCtxRelease_v2"}(0), 0);
    start();
    EXPECT(free_now() == 1024 * kMiB);
}

// Threads that make and end contexts, whose handles the driver gives out again: what one thread
// still has is not given back with another one's context.
void scenario_context_handles() {
    start();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([] {
            for (int i = 0; i < 400; ++i) {
                CUcontext context = nullptr;
                EXPECT_RESULT(cuCtxCreate(&context, 0, 0), 0);
                CUdeviceptr first = 0;
                CUdeviceptr second = 0;
                EXPECT_RESULT(cuMemAlloc(&first, 2 * kMiB), 0);
                EXPECT_RESULT(cuMemAlloc(&second, 2 * kMiB), 0);
                EXPECT_RESULT(cuMemFree(first), 0);
                EXPECT_RESULT(cuCtxDestroy(context), 0);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT(free_now() == 1024 * kMiB);
}

void use_everything() {
    start();
    for (const Family& family : families()) {
        std::uint64_t at = 0;
        EXPECT_RESULT(family.allocate(20 * kMiB, at), 0);
        family.release(at);
        EXPECT_RESULT(family.allocate(1100 * kMiB, at), CUDA_ERROR_OUT_OF_MEMORY);
    }
}

// All of it in a thread with the least stack that there is.
void scenario_small_stack() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0);
    pthread_t thread{};
    const auto body = [](void*) -> void* {
        use_everything();
        return nullptr;
    };
    EXPECT(pthread_create(&thread, &attributes, body, nullptr) == 0);
    EXPECT(pthread_join(thread, nullptr) == 0);
}

// Signals all the time, whose handlers do nothing but interrupt.
void scenario_signals() {
    struct sigaction action {};  // without SA_RESTART
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often{{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, nullptr);
    use_everything();
}

// Programs that are started by one that holds memory: with vfork, with posix_spawn.
void scenario_children() {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 600 * kMiB), 0);
    char* arguments[] = {const_cast<char*>("true"), nullptr};
    for (int i = 0; i < 20; ++i) {
        pid_t child = -1;
        if (i % 2 == 0) {
            EXPECT(posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) == 0);
        } else {
            child = vfork();
            if (child == 0) {
                execv("/bin/true", arguments);
                _exit(9);
            }
        }
        int status = -1;
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
        EXPECT(free_now() == 424 * kMiB);
    }
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

// NVML is loaded and unloaded again and again (as Go programs do), and comes to lie elsewhere.
void scenario_nvml_again(const char* path) {
    for (int i = 0; i < 5; ++i) {
        void* nvml = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        EXPECT(nvml != nullptr);
        EXPECT_RESULT(reinterpret_cast<int (*)()>(dlsym(nvml, "nvmlInit_v2"))(), 0);
        void* device = nullptr;
        EXPECT_RESULT(
            reinterpret_cast<
                int (*)(unsigned, void**)>(dlsym(nvml, "nvmlDeviceGetHandleByIndex_v2"))(
                0, &device
            ),
            0
        );
        unsigned long long memory[3] = {};
        EXPECT_RESULT(
            reinterpret_cast<int (*)(void*, void*)>(dlsym(nvml, "nvmlDeviceGetMemoryInfo"))(
                device, memory
            ),
            0
        );
        EXPECT(memory[0] == 1024 * kMiB);
        EXPECT_RESULT(reinterpret_cast<int (*)()>(dlsym(nvml, "nvmlShutdown"))(), 0);
        const auto before = reinterpret_cast<std::uintptr_t>(dlsym(nvml, "nvmlShutdown"));
        EXPECT(dlclose(nvml) == 0);
        // Whatever was there is something else now.
        const std::uintptr_t page = before / 4096 * 4096;
        mmap(
            reinterpret_cast<void*>(page),
            4096,
            PROT_NONE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
            -1,
            0
        );
    }
}

// Two cards with quotas of their own (1 and 2 GiB), in one process.
void scenario_two_cards() {
    start();
    CUcontext second = nullptr;
    CUcontext first = nullptr;
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&first, 0), 0);
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&second, 1), 0);
    EXPECT_RESULT(cuCtxSetCurrent(second), 0);
    CUstream there = nullptr;
    EXPECT_RESULT(cuStreamCreate(&there, CU_STREAM_NON_BLOCKING), 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 1500 * kMiB), 0);
    EXPECT(free_now() == 548 * kMiB);
    EXPECT_RESULT(cuCtxSetCurrent(first), 0);
    EXPECT(free_now() == 1024 * kMiB);
    CUdeviceptr here = 0;
    EXPECT_RESULT(cuMemAlloc(&here, 1100 * kMiB), CUDA_ERROR_OUT_OF_MEMORY);
    // On the other card's stream, and in its memory, from here.
    CUdeviceptr streamed = 0;
    EXPECT_RESULT(cuMemAllocAsync(&streamed, 600 * kMiB, there), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_RESULT(cuMemAllocAsync(&streamed, 300 * kMiB, there), 0);
    EXPECT(free_now() == 1024 * kMiB);
    CUmemAllocationProp prop = on_card();
    prop.location.id = 1;
    CUmemGenericAllocationHandle handle = 0;
    EXPECT_RESULT(cuMemCreate(&handle, 600 * kMiB, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_RESULT(cuMemCreate(&handle, 100 * kMiB, &prop, 0), 0);
    EXPECT(free_now() == 1024 * kMiB);
    // Freed from the other card's context.
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT_RESULT(cuMemFreeAsync(streamed, there), 0);
    EXPECT_RESULT(cuStreamSynchronize(there), 0);
    EXPECT_RESULT(cuMemRelease(handle), 0);
    EXPECT(free_now() == 1024 * kMiB);
    EXPECT_RESULT(cuCtxSetCurrent(second), 0);
    EXPECT(free_now() == 2048 * kMiB);
    EXPECT_RESULT(cuMemAlloc(&at, 1500 * kMiB), 0);
    EXPECT_RESULT(cuDevicePrimaryCtxReset(1), 0);
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&second, 1), 0);
    EXPECT_RESULT(cuCtxSetCurrent(second), 0);
    EXPECT(free_now() == 2048 * kMiB);
}

// The quota is larger than the card: what the driver refuses is not charged.
void scenario_driver_refuses() {
    start();
    const std::size_t before = free_now();
    for (const Family& family : families()) {
        for (int i = 0; i < 3; ++i) {
            std::uint64_t at = 0;
            // Managed memory may be more than the card has.
            if (family.allocate(100'000 * kMiB, at) == 0) family.release(at);
        }
        if (free_now() != before) std::printf("%s\n", family.name);
        EXPECT(free_now() == before);
    }
}

// Pools come and go, more of them in all than are known at once.
void scenario_many_pools() {
    start();
    CUmemPoolProps props{};
    props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    for (int i = 0; i < 600; ++i) {
        CUmemoryPool pool = nullptr;
        EXPECT_RESULT(cuMemPoolCreate(&pool, &props), 0);
        CUdeviceptr at = 0;
        EXPECT_RESULT(cuMemAllocFromPoolAsync(&at, 600 * kMiB, pool, nullptr), 0);
        // In both orders.
        if (i % 2 == 0) EXPECT_RESULT(cuMemPoolDestroy(pool), 0);
        EXPECT_RESULT(cuMemFreeAsync(at, nullptr), 0);
        EXPECT_RESULT(cuStreamSynchronize(nullptr), 0);
        if (i % 2 != 0) EXPECT_RESULT(cuMemPoolDestroy(pool), 0);
    }
    EXPECT(free_now() == 1024 * kMiB);
}

}  // namespace

void add_odd(Scenarios& to, const std::string& argument) {
    to["detach"] = scenario_detach;
    to["release"] = scenario_release;
    to["context_handles"] = scenario_context_handles;
    to["small_stack"] = scenario_small_stack;
    to["signals"] = scenario_signals;
    to["children"] = scenario_children;
    to["nvml_again"] = [&argument] { scenario_nvml_again(argument.c_str()); };
    to["two_cards"] = scenario_two_cards;
    to["driver_refuses"] = scenario_driver_refuses;
    to["many_pools"] = scenario_many_pools;
}

}  // namespace probe
