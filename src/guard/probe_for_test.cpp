// A CUDA program for tests: uses the driver as programs do (dlopen, dlsym, cuGetProcAddress) and
// checks what it is told. Knows nothing of the guard, which is preloaded by the test.
//
//     guard_probe LIBCUDA SCENARIO [ARGUMENT]
//
// Exits 0, or 1 with a line that says which expectation failed. A scenario's quota is what its test
// wrote.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/cuda_abi.h"
#include "guard/nvml_abi.h"

using namespace egpu::cuda;

namespace {

constexpr std::size_t kMiB = 1 << 20;
const char* library_path = nullptr;
void* library = nullptr;

#define EXPECT(condition)                                       \
    do {                                                        \
        if (!(condition)) {                                     \
            std::printf("line %d: %s\n", __LINE__, #condition); \
            std::fflush(stdout);                                \
            _exit(1);                                           \
        }                                                       \
    } while (false)

#define EXPECT_RESULT(call, wanted)                                                     \
    do {                                                                                \
        const int got = (call);                                                         \
        if (got != (wanted)) {                                                          \
            std::printf("line %d: %s is %d, not %d\n", __LINE__, #call, got, (wanted)); \
            std::fflush(stdout);                                                        \
            _exit(1);                                                                   \
        }                                                                               \
    } while (false)

void* find(const char* name) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr) {
        std::printf("%s has no %s\n", library_path, name);
        std::fflush(stdout);
        _exit(1);
    }
    return symbol;
}

template <class... A>
struct Function {
    const char* name;
    void* known = nullptr;
    int operator()(A... arguments) {
        if (known == nullptr) known = find(name);
        return reinterpret_cast<int (*)(A...)>(known)(arguments...);
    }
};

Function<unsigned> cuInit{"cuInit"};
Function<std::size_t*, CUdevice> cuDeviceTotalMem{"cuDeviceTotalMem_v2"};
Function<CUcontext*, unsigned, CUdevice> cuCtxCreate{"cuCtxCreate_v2"};
Function<CUcontext> cuCtxDestroy{"cuCtxDestroy_v2"};
Function<CUcontext*, CUdevice> cuDevicePrimaryCtxRetain{"cuDevicePrimaryCtxRetain"};
Function<CUdevice> cuDevicePrimaryCtxReset{"cuDevicePrimaryCtxReset_v2"};
Function<CUcontext> cuCtxSetCurrent{"cuCtxSetCurrent"};
Function<> cuCtxSynchronize{"cuCtxSynchronize"};
Function<std::size_t*, std::size_t*> cuMemGetInfo{"cuMemGetInfo_v2"};
Function<CUdeviceptr*, std::size_t> cuMemAlloc{"cuMemAlloc_v2"};
Function<CUdeviceptr> cuMemFree{"cuMemFree_v2"};
Function<CUdeviceptr*, std::size_t*, std::size_t, std::size_t, unsigned> cuMemAllocPitch{
    "cuMemAllocPitch_v2"};
Function<CUdeviceptr*, std::size_t, unsigned> cuMemAllocManaged{"cuMemAllocManaged"};
Function<CUdeviceptr*, std::size_t, CUstream> cuMemAllocAsync{"cuMemAllocAsync"};
Function<CUdeviceptr, CUstream> cuMemFreeAsync{"cuMemFreeAsync"};
Function<CUdeviceptr*, std::size_t, CUmemoryPool, CUstream> cuMemAllocFromPoolAsync{
    "cuMemAllocFromPoolAsync"};
Function<CUmemoryPool*, const CUmemPoolProps*> cuMemPoolCreate{"cuMemPoolCreate"};
Function<CUmemoryPool> cuMemPoolDestroy{"cuMemPoolDestroy"};
Function<CUmemoryPool, int, void*> cuMemPoolSetAttribute{"cuMemPoolSetAttribute"};
Function<CUmemoryPool*, CUdevice> cuDeviceGetDefaultMemPool{"cuDeviceGetDefaultMemPool"};
Function<CUmemGenericAllocationHandle*, std::size_t, const CUmemAllocationProp*, unsigned long long>
    cuMemCreate{"cuMemCreate"};
Function<CUmemGenericAllocationHandle> cuMemRelease{"cuMemRelease"};
Function<CUdeviceptr*, std::size_t, std::size_t, CUdeviceptr, unsigned long long>
    cuMemAddressReserve{"cuMemAddressReserve"};
Function<CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle, unsigned long long>
    cuMemMap{"cuMemMap"};
Function<CUdeviceptr, std::size_t> cuMemUnmap{"cuMemUnmap"};
Function<CUmemGenericAllocationHandle*, void*> cuMemRetainAllocationHandle{
    "cuMemRetainAllocationHandle"};
Function<CUarray*, const CUDA_ARRAY_DESCRIPTOR*> cuArrayCreate{"cuArrayCreate_v2"};
Function<CUarray*, const CUDA_ARRAY3D_DESCRIPTOR*> cuArray3DCreate{"cuArray3DCreate_v2"};
Function<CUarray> cuArrayDestroy{"cuArrayDestroy"};
Function<CUmipmappedArray*, const CUDA_ARRAY3D_DESCRIPTOR*, unsigned> cuMipmappedArrayCreate{
    "cuMipmappedArrayCreate"};
Function<CUmipmappedArray> cuMipmappedArrayDestroy{"cuMipmappedArrayDestroy"};
Function<CUstream*, unsigned> cuStreamCreate{"cuStreamCreate"};
Function<CUstream> cuStreamSynchronize{"cuStreamSynchronize"};
Function<CUstream, int> cuStreamBeginCapture{"cuStreamBeginCapture_v2"};
Function<CUstream, CUgraph*> cuStreamEndCapture{"cuStreamEndCapture"};
Function<CUgraphExec*, CUgraph, unsigned long long> cuGraphInstantiate{
    "cuGraphInstantiateWithFlags"};
Function<CUgraphExec, CUstream> cuGraphLaunch{"cuGraphLaunch"};
Function<CUgraphExec> cuGraphExecDestroy{"cuGraphExecDestroy"};
Function<CUdevice> cuDeviceGraphMemTrim{"cuDeviceGraphMemTrim"};

CUcontext start() {
    EXPECT_RESULT(cuInit(0), CUDA_SUCCESS);
    CUcontext context = nullptr;
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
    EXPECT_RESULT(cuCtxSetCurrent(context), CUDA_SUCCESS);
    return context;
}

std::size_t free_now() {
    std::size_t free = 0;
    std::size_t total = 0;
    EXPECT_RESULT(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return free;
}

std::size_t total_now() {
    std::size_t free = 0;
    std::size_t total = 0;
    EXPECT_RESULT(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return total;
}

struct Family {
    const char* name;
    std::function<int(std::size_t, std::uint64_t&)> allocate;
    std::function<void(std::uint64_t)> release;
};

CUmemAllocationProp on_card() {
    CUmemAllocationProp prop{};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    return prop;
}

CUmemoryPool own_pool() {
    static CUmemoryPool pool = [] {
        CUmemPoolProps props{};
        props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
        CUmemoryPool made = nullptr;
        EXPECT_RESULT(cuMemPoolCreate(&made, &props), CUDA_SUCCESS);
        return made;
    }();
    return pool;
}

void free_address(std::uint64_t at) {
    EXPECT_RESULT(cuMemFree(at), CUDA_SUCCESS);
}

void free_on_stream(std::uint64_t at) {
    EXPECT_RESULT(cuMemFreeAsync(at, nullptr), CUDA_SUCCESS);
    EXPECT_RESULT(cuStreamSynchronize(nullptr), CUDA_SUCCESS);
}

const std::vector<Family>& families() {
    static const std::vector<Family> all = {
        {"plain",
         [](std::size_t n, std::uint64_t& at) { return cuMemAlloc(&at, n); },
         free_address},
        {"pitch",
         [](std::size_t n, std::uint64_t& at) {
             std::size_t pitch = 0;
             return cuMemAllocPitch(&at, &pitch, 65536, (n + 65535) / 65536, 4);
         },
         free_address},
        {"managed",
         [](std::size_t n, std::uint64_t& at) { return cuMemAllocManaged(&at, n, 1); },
         free_address},
        {"async",
         [](std::size_t n, std::uint64_t& at) { return cuMemAllocAsync(&at, n, nullptr); },
         free_on_stream},
        {"pool",
         [](std::size_t n, std::uint64_t& at) {
             return cuMemAllocFromPoolAsync(&at, n, own_pool(), nullptr);
         },
         free_on_stream},
        {"create",
         [](std::size_t n, std::uint64_t& at) {
             const CUmemAllocationProp prop = on_card();
             const std::size_t grain = 2 * kMiB;
             return cuMemCreate(&at, (n + grain - 1) / grain * grain, &prop, 0);
         },
         [](std::uint64_t at) { EXPECT_RESULT(cuMemRelease(at), CUDA_SUCCESS); }},
        {"array",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY_DESCRIPTOR shape{4096, (n + 16383) / 16384, CU_AD_FORMAT_FLOAT, 1};
             return cuArrayCreate(reinterpret_cast<CUarray*>(&at), &shape);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(cuArrayDestroy(reinterpret_cast<CUarray>(at)), CUDA_SUCCESS);
         }},
        {"array3d",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY3D_DESCRIPTOR shape{
                 256, 256, (n + 262143) / 262144, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
             return cuArray3DCreate(reinterpret_cast<CUarray*>(&at), &shape);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(cuArrayDestroy(reinterpret_cast<CUarray>(at)), CUDA_SUCCESS);
         }},
        {"mipmap",
         [](std::size_t n, std::uint64_t& at) {
             const CUDA_ARRAY3D_DESCRIPTOR shape{
                 4096, (n + 16383) / 16384, 0, CU_AD_FORMAT_FLOAT, 1, 0};
             return cuMipmappedArrayCreate(reinterpret_cast<CUmipmappedArray*>(&at), &shape, 1);
         },
         [](std::uint64_t at) {
             EXPECT_RESULT(
                 cuMipmappedArrayDestroy(reinterpret_cast<CUmipmappedArray>(at)), CUDA_SUCCESS
             );
         }},
    };
    return all;
}

// Quota 1 GiB: each family gets 3 x 300 MiB, is refused the fourth with the code for it, and gives
// all of it back.
void scenario_families() {
    start();
    EXPECT(total_now() == 1024 * kMiB);
    for (const Family& family : families()) {
        const std::size_t before = free_now();
        if (before != 1024 * kMiB) std::printf("before %s: %zu free\n", family.name, before);
        EXPECT(before == 1024 * kMiB);
        std::vector<std::uint64_t> held;
        int result = 0;
        for (std::uint64_t at = 0; (result = family.allocate(300 * kMiB, at)) == 0; at = 0)
            held.push_back(at);
        if (held.size() != 3 || result != CUDA_ERROR_OUT_OF_MEMORY) {
            std::printf("%s: %zu granted, then %d\n", family.name, held.size(), result);
        }
        EXPECT(held.size() == 3);
        EXPECT(result == CUDA_ERROR_OUT_OF_MEMORY);
        EXPECT(free_now() <= 124 * kMiB);
        // And no other family gets what this one has.
        for (const Family& other : families()) {
            std::uint64_t at = 0;
            EXPECT_RESULT(other.allocate(200 * kMiB, at), CUDA_ERROR_OUT_OF_MEMORY);
        }
        for (const std::uint64_t at : held) family.release(at);
    }
    EXPECT(free_now() == 1024 * kMiB);
}

// Every way to free what was allocated in another way, and frees of what the guard never saw.
void scenario_frees() {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAllocAsync(&at, 100 * kMiB, nullptr), 0);
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(free_now() == 1024 * kMiB);
    EXPECT_RESULT(cuMemFree(0), CUDA_SUCCESS);
    EXPECT(cuMemFree(0x1234) != CUDA_SUCCESS);
    EXPECT(free_now() == 1024 * kMiB);
    // A free that fails gives nothing back; one that works gives it back once.
    EXPECT_RESULT(cuMemAlloc(&at, 100 * kMiB), 0);
    EXPECT(cuMemFree(at + 512) != CUDA_SUCCESS);
    EXPECT(free_now() == 924 * kMiB);
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(cuMemFree(at) != CUDA_SUCCESS);
    EXPECT(free_now() == 1024 * kMiB);
    // What the driver refuses by itself is not charged.
    EXPECT(cuMemAlloc(&at, 0) != CUDA_SUCCESS);
    EXPECT_RESULT(cuMemAlloc(&at, ~std::size_t{0}), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT(free_now() == 1024 * kMiB);
}

// Memory stays charged while it is mapped, whoever let go of its handle.
void scenario_vmm() {
    start();
    const CUmemAllocationProp prop = on_card();
    CUmemGenericAllocationHandle handle = 0;
    EXPECT_RESULT(cuMemCreate(&handle, 600 * kMiB, &prop, 0), 0);
    CUdeviceptr range = 0;
    EXPECT_RESULT(cuMemAddressReserve(&range, 2048 * kMiB, 0, 0, 0), 0);
    EXPECT(free_now() == 424 * kMiB);
    EXPECT_RESULT(cuMemMap(range, 600 * kMiB, 0, handle, 0), 0);
    EXPECT_RESULT(cuMemRelease(handle), 0);
    EXPECT(free_now() == 424 * kMiB);
    CUmemGenericAllocationHandle second = 0;
    EXPECT_RESULT(cuMemCreate(&second, 600 * kMiB, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
    CUmemGenericAllocationHandle again = 0;
    EXPECT_RESULT(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(range)), 0);
    EXPECT_RESULT(cuMemUnmap(range, 600 * kMiB), 0);
    EXPECT(free_now() == 424 * kMiB);
    EXPECT_RESULT(cuMemRelease(again), 0);
    EXPECT(free_now() == 1024 * kMiB);
    // Several mappings side by side, unmapped at once.
    CUmemGenericAllocationHandle parts[4];
    for (int i = 0; i < 4; ++i) {
        EXPECT_RESULT(cuMemCreate(&parts[i], 100 * kMiB, &prop, 0), 0);
        EXPECT_RESULT(cuMemMap(range + i * 100 * kMiB, 100 * kMiB, 0, parts[i], 0), 0);
        EXPECT_RESULT(cuMemRelease(parts[i]), 0);
    }
    EXPECT(free_now() == 624 * kMiB);
    EXPECT_RESULT(cuMemUnmap(range, 400 * kMiB), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

// A pool keeps what it has; the quota gets it back by a trim, by need, and when the pool goes.
void scenario_pools() {
    start();
    CUmemoryPool pool = nullptr;
    EXPECT_RESULT(cuDeviceGetDefaultMemPool(&pool, 0), 0);
    std::uint64_t keep = ~std::uint64_t{0};
    EXPECT_RESULT(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep), 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAllocAsync(&at, 600 * kMiB, nullptr), 0);
    EXPECT_RESULT(cuMemFreeAsync(at, nullptr), 0);
    EXPECT_RESULT(cuCtxSynchronize(), 0);
    EXPECT(free_now() <= 424 * kMiB);
    // Again and again from the same pool, although 2 x 600 MiB are more than the quota.
    for (int i = 0; i < 5; ++i) {
        EXPECT_RESULT(cuMemAllocAsync(&at, 600 * kMiB, nullptr), 0);
        EXPECT_RESULT(cuMemFreeAsync(at, nullptr), 0);
    }
    // Another family needs what the pool keeps without use.
    EXPECT_RESULT(cuCtxSynchronize(), 0);
    CUdeviceptr plain = 0;
    EXPECT_RESULT(cuMemAlloc(&plain, 900 * kMiB), 0);
    EXPECT_RESULT(cuMemFree(plain), 0);
    EXPECT(free_now() == 1024 * kMiB);
    EXPECT_RESULT(cuMemAllocFromPoolAsync(&at, 300 * kMiB, own_pool(), nullptr), 0);
    EXPECT_RESULT(cuMemPoolDestroy(own_pool()), 0);
    EXPECT(free_now() <= 724 * kMiB);
    EXPECT_RESULT(cuMemFreeAsync(at, nullptr), 0);
    EXPECT_RESULT(cuCtxSynchronize(), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

void scenario_graph_memory() {
    start();
    CUstream stream = nullptr;
    EXPECT_RESULT(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    const auto capture = [&](std::size_t bytes) {
        EXPECT_RESULT(cuStreamBeginCapture(stream, 0), 0);
        CUdeviceptr at = 0;
        EXPECT_RESULT(cuMemAllocAsync(&at, bytes, stream), 0);
        EXPECT_RESULT(cuMemFreeAsync(at, stream), 0);
        CUgraph graph = nullptr;
        EXPECT_RESULT(cuStreamEndCapture(stream, &graph), 0);
        CUgraphExec exec = nullptr;
        EXPECT_RESULT(cuGraphInstantiate(&exec, graph, 0), 0);
        return exec;
    };
    const CUgraphExec small = capture(500 * kMiB);
    const CUgraphExec large = capture(1500 * kMiB);
    EXPECT_RESULT(cuGraphLaunch(small, stream), 0);
    EXPECT_RESULT(cuGraphLaunch(small, stream), 0);
    EXPECT_RESULT(cuStreamSynchronize(stream), 0);
    EXPECT(free_now() <= 524 * kMiB);
    EXPECT_RESULT(cuGraphLaunch(large, stream), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_RESULT(cuGraphExecDestroy(small), 0);
    EXPECT_RESULT(cuDeviceGraphMemTrim(0), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

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

// What another API allocated is charged while CUDA holds it.
void scenario_external() {
    start();
    Function<CUexternalMemory*, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC*> import{
        "cuImportExternalMemory"};
    Function<CUexternalMemory> destroy{"cuDestroyExternalMemory"};
    const auto file_of = [](std::size_t bytes) {
        const int fd = memfd_create("vulkan", MFD_CLOEXEC);
        EXPECT(fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0);
        return fd;
    };
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC desc{};
    desc.type = 1;  // a file descriptor
    desc.handle.fd = file_of(600 * kMiB);
    desc.size = 600 * kMiB;
    CUexternalMemory memory = nullptr;
    EXPECT_RESULT(import(&memory, &desc), 0);
    EXPECT(free_now() == 424 * kMiB);
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC more = desc;
    more.handle.fd = file_of(600 * kMiB);
    CUexternalMemory other = nullptr;
    EXPECT_RESULT(import(&other, &more), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT(fcntl(more.handle.fd, F_GETFD) >= 0);  // still the caller's
    more.handle.fd = -1;
    more.size = 100 * kMiB;
    EXPECT(import(&other, &more) != 0);
    EXPECT(free_now() == 424 * kMiB);
    EXPECT_RESULT(destroy(memory), 0);
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

using Alloc = int (*)(CUdeviceptr*, std::size_t);

bool is_limited(void* function) {
    CUdeviceptr at = 0;
    const int result = reinterpret_cast<Alloc>(function)(&at, 1100 * kMiB);
    if (result == 0) cuMemFree(at);
    return result == CUDA_ERROR_OUT_OF_MEMORY;
}

// Every road to cuMemAlloc that goes through the loader or the driver leads to the same limit.
void scenario_roads() {
    start();
    EXPECT(is_limited(dlsym(library, "cuMemAlloc_v2")));
    void* global = dlopen(library_path, RTLD_NOW | RTLD_GLOBAL);
    EXPECT(global != nullptr);
    EXPECT(is_limited(dlsym(global, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(RTLD_DEFAULT, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(RTLD_NEXT, "cuMemAlloc_v2")));
    EXPECT(is_limited(dlsym(dlopen(nullptr, RTLD_NOW), "cuMemAlloc_v2")));
    // dlsym itself, asked for in every way.
    using DlSym = void* (*)(void*, const char*);
    void* libc = dlopen("libc.so.6", RTLD_NOW);
    for (void* handle : {RTLD_DEFAULT, RTLD_NEXT, libc}) {
        const auto own = reinterpret_cast<DlSym>(dlsym(handle, "dlsym"));
        EXPECT(own != nullptr && is_limited(own(library, "cuMemAlloc_v2")));
    }
#if defined(__x86_64__)
    const auto versioned = reinterpret_cast<DlSym>(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
    EXPECT(versioned != nullptr && is_limited(versioned(library, "cuMemAlloc_v2")));
#endif
    using Get = int (*)(const char*, void**, int, cuuint64_t);
    using Get2 = int (*)(const char*, void**, int, cuuint64_t, int*);
    const auto get = reinterpret_cast<Get>(dlsym(library, "cuGetProcAddress"));
    const auto get2 = reinterpret_cast<Get2>(dlsym(library, "cuGetProcAddress_v2"));
    EXPECT(get != nullptr && get2 != nullptr);
    for (const int version : {3020, 11030, 11080, 12000, 12080, 13000}) {
        for (const cuuint64_t flags : {0, 1, 2}) {
            void* function = nullptr;
            int status = -1;
            EXPECT_RESULT(get2("cuMemAlloc", &function, version, flags, &status), 0);
            EXPECT(status == CU_GET_PROC_ADDRESS_SUCCESS);
            EXPECT(is_limited(function));
            EXPECT_RESULT(get("cuMemAlloc", &function, version, flags), 0);
            EXPECT(is_limited(function));
        }
    }
    // And cuGetProcAddress, got from itself.
    void* itself = nullptr;
    EXPECT_RESULT(get("cuGetProcAddress", &itself, 12000, 0), 0);
    void* function = nullptr;
    int status = -1;
    EXPECT_RESULT(reinterpret_cast<Get2>(itself)("cuMemAlloc", &function, 12000, 0, &status), 0);
    EXPECT(is_limited(function));
    // What the driver says about names it does not know comes through as it is.
    void* none = &none;
    EXPECT(
        get2("cuNoSuchFunction", &none, 12000, 0, &status) == CUDA_ERROR_NOT_FOUND ||
        status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
    );
    // Per-thread default streams: another function than the legacy one, both limited.
    void* legacy = nullptr;
    void* per_thread = nullptr;
    EXPECT_RESULT(get2("cuMemAllocAsync", &legacy, 12000, 1, &status), 0);
    EXPECT_RESULT(get2("cuMemAllocAsync", &per_thread, 12000, 2, &status), 0);
    EXPECT(legacy != per_thread);
    EXPECT(per_thread == dlsym(library, "cuMemAllocAsync_ptsz"));
    using AllocAsync = int (*)(CUdeviceptr*, std::size_t, CUstream);
    CUdeviceptr at = 0;
    EXPECT_RESULT(
        reinterpret_cast<AllocAsync>(per_thread)(&at, 1100 * kMiB, nullptr),
        CUDA_ERROR_OUT_OF_MEMORY
    );
    EXPECT_RESULT(
        reinterpret_cast<AllocAsync>(legacy)(&at, 1100 * kMiB, nullptr), CUDA_ERROR_OUT_OF_MEMORY
    );
    EXPECT(dlsym(library, "cuLaunchKernel") != dlsym(library, "cuLaunchKernel_ptsz"));
}

int count_entries(const char* path) {
    DIR* folder = opendir(path);
    int count = 0;
    while (readdir(folder) != nullptr) ++count;
    closedir(folder);
    return count;
}

// A program that never uses CUDA is left alone, whatever it looks up.
void scenario_bystander() {
    const mode_t mask = umask(027);
    umask(mask);
    const int fds = count_entries("/proc/self/fd");
    const int tasks = count_entries("/proc/self/task");
    EXPECT(dlsym(RTLD_DEFAULT, "curl_easy_init") == nullptr);
    EXPECT(dlerror() != nullptr);
    EXPECT(dlsym(RTLD_DEFAULT, "cuInit") == nullptr);
    EXPECT(std::string(dlerror()).find("cuInit") != std::string::npos);
    EXPECT(dlsym(RTLD_NEXT, "cuMemAlloc_v2") == nullptr);
    EXPECT(dlsym(dlopen(nullptr, RTLD_NOW), "cuInit") == nullptr);
    EXPECT(dlsym(RTLD_DEFAULT, "malloc") != nullptr);
    EXPECT(dlsym(RTLD_NEXT, "malloc") != nullptr);
    EXPECT(dlsym(RTLD_NEXT, "malloc") != nullptr);  // and a second time
    EXPECT(dlsym(library, "cuMemAlloc_v2") != nullptr);
    EXPECT(umask(mask) == mask);
    EXPECT(count_entries("/proc/self/fd") == fds);
    EXPECT(count_entries("/proc/self/task") == tasks);
    for (int number = 1; number < 32; ++number) {
        struct sigaction action {};
        sigaction(number, nullptr, &action);
        EXPECT(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
}

// After cuInit as well: no signal is handled, the mask is the program's.
void scenario_after_init() {
    start();
    for (int number = 1; number < 32; ++number) {
        struct sigaction action {};
        sigaction(number, nullptr, &action);
        EXPECT(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT(sigismember(&blocked, SIGUSR2) == 0);
}

void scenario_refused() {
    EXPECT_RESULT(cuInit(0), CUDA_ERROR_SYSTEM_NOT_READY);
    // Whoever goes on regardless gets nowhere.
    CUcontext context = nullptr;
    EXPECT_RESULT(cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_SYSTEM_NOT_READY);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, kMiB), CUDA_ERROR_SYSTEM_NOT_READY);
}

// No limits: the card is as large as it is.
void scenario_open() {
    start();
    EXPECT(total_now() > 4096 * kMiB);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 4096 * kMiB), 0);
    EXPECT_RESULT(cuMemFree(at), 0);
}

// Prints what is free in MiB, then total, then the total of the device.
void scenario_sizes() {
    start();
    std::size_t of_device = 0;
    EXPECT_RESULT(cuDeviceTotalMem(&of_device, 0), 0);
    std::printf("%zu %zu %zu\n", free_now() / kMiB, total_now() / kMiB, of_device / kMiB);
}

// Says what it could allocate each time a line comes in.
void scenario_follow() {
    start();
    char line[16];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        CUdeviceptr at = 0;
        const int result = cuMemAlloc(&at, 600 * kMiB);
        if (result == 0) cuMemFree(at);
        std::printf("%d %zu\n", result, total_now() / kMiB);
        std::fflush(stdout);
    }
}

// Holds so many MiB until it is killed.
void scenario_hold(std::size_t mib) {
    start();
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, mib * kMiB), 0);
    std::printf("held\n");
    std::fflush(stdout);
    for (;;) pause();
}

// What nvidia-smi would ask, without CUDA and with no place in the accounts. Prints total, used,
// free in MiB.
void scenario_nvml(const char* path) {
    void* nvml = dlopen(path, RTLD_NOW);
    EXPECT(nvml != nullptr);
    const auto call = [nvml](const char* name) { return dlsym(nvml, name); };
    using Device = egpu::nvml::nvmlDevice_t;
    EXPECT_RESULT(reinterpret_cast<int (*)()>(call("nvmlInit_v2"))(), 0);
    Device device = nullptr;
    EXPECT_RESULT(
        reinterpret_cast<int (*)(unsigned, Device*)>(call("nvmlDeviceGetHandleByIndex_v2"))(
            0, &device
        ),
        0
    );
    egpu::nvml::nvmlMemory_t memory{};
    EXPECT_RESULT(
        reinterpret_cast<
            int (*)(Device, egpu::nvml::nvmlMemory_t*)>(call("nvmlDeviceGetMemoryInfo"))(
            device, &memory
        ),
        0
    );
    EXPECT(memory.total == memory.used + memory.free);
    if (auto* second = call("nvmlDeviceGetMemoryInfo_v2"); second != nullptr) {
        egpu::nvml::nvmlMemory_v2_t more{};
        more.version = egpu::nvml::NVML_MEMORY_V2;
        const int result =
            reinterpret_cast<int (*)(Device, egpu::nvml::nvmlMemory_v2_t*)>(second)(device, &more);
        EXPECT(result != 0 || (more.total == memory.total && more.used == memory.used));
    }
    std::printf("%llu %llu %llu", memory.total / kMiB, memory.used / kMiB, memory.free / kMiB);
    if (auto* list = call("nvmlDeviceGetComputeRunningProcesses_v2"); list != nullptr) {
        egpu::nvml::nvmlProcessInfo_v2_t entries[64];
        unsigned count = 64;
        using List = int (*)(Device, unsigned*, egpu::nvml::nvmlProcessInfo_v2_t*);
        const int result = reinterpret_cast<List>(list)(device, &count, entries);
        for (unsigned i = 0; result == 0 && i < count; ++i) std::printf(" pid %u", entries[i].pid);
    }
    std::printf("\n");
}

// Without the guard: watches what the card has in use until its input ends, then prints the most it
// saw, in bytes beyond what was in use at first.
void scenario_watch() {
    start();
    std::atomic<bool> stop{false};
    std::thread input([&] {
        char byte = 0;
        while (read(0, &byte, 1) > 0) {
        }
        stop = true;
    });
    const std::size_t before = free_now();
    std::printf("watching\n");
    std::fflush(stdout);
    std::size_t lowest = before;
    while (!stop) lowest = std::min(lowest, free_now());
    input.join();
    std::printf("%zu\n", before - lowest);
}

// Launches kernels of 100 us for a second, of one kind; prints the GPU time launched in percent of
// the wall time.
void scenario_spin(const std::string& kind) {
    start();
    CUmodule module = nullptr;
    CUfunction kernel = nullptr;
    CUstream stream = nullptr;
    EXPECT_RESULT((Function<CUmodule*, const void*>{"cuModuleLoadData"}(&module, "image")), 0);
    EXPECT_RESULT(
        (Function<CUfunction*, CUmodule, const char*>{
            "cuModuleGetFunction"}(&kernel, module, "work_100us")),
        0
    );
    EXPECT_RESULT(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    using Launch = Function<
        CUfunction,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        CUstream,
        void**,
        void**>;
    Launch launch{"cuLaunchKernel"};
    Launch per_thread{"cuLaunchKernel_ptsz"};
    Function<
        CUfunction,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        CUstream,
        void**>
        together{"cuLaunchCooperativeKernel"};
    Function<const CUlaunchConfig*, CUfunction, void**, void**> ex{"cuLaunchKernelEx"};
    CUgraphExec exec = nullptr;
    if (kind == "graph") {
        EXPECT_RESULT(cuStreamBeginCapture(stream, 0), 0);
        EXPECT_RESULT(launch(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr), 0);
        CUgraph graph = nullptr;
        EXPECT_RESULT(cuStreamEndCapture(stream, &graph), 0);
        EXPECT_RESULT(cuGraphInstantiate(&exec, graph, 0), 0);
    }
    CUlaunchConfig config{};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 32;
    config.blockDimY = config.blockDimZ = 1;
    config.hStream = stream;
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    int launches = 0;
    while (passed() < 1) {
        int result = 999;
        if (kind == "kernel")
            result = launch(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr);
        if (kind == "ptsz")
            result = per_thread(kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr);
        if (kind == "cooperative") result = together(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr);
        if (kind == "ex") result = ex(&config, kernel, nullptr, nullptr);
        if (kind == "graph") result = cuGraphLaunch(exec, stream);
        EXPECT(result == 0);
        ++launches;
    }
    EXPECT_RESULT(cuCtxSynchronize(), 0);
    std::printf("%d\n", static_cast<int>(launches * 0.0001 / passed() * 100));
}

// Memory of another process: neither its import nor its release changes the importer's account.
void scenario_ipc() {
    start();
    int ends[2];
    int back[2];
    EXPECT(pipe(ends) == 0 && pipe(back) == 0);
    CUdeviceptr at = 0;
    EXPECT_RESULT(cuMemAlloc(&at, 300 * kMiB), 0);
    CUipcMemHandle handle{};
    EXPECT_RESULT((Function<CUipcMemHandle*, CUdeviceptr>{"cuIpcGetMemHandle"}(&handle, at)), 0);
    // A fresh process (fork of one that uses CUDA is not one): this program again.
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[0], 0);
        dup2(back[1], 1);
        execl("/proc/self/exe", "guard_probe", library_path, "ipc_open", nullptr);
        _exit(9);
    }
    EXPECT(write(ends[1], &handle, sizeof handle) == sizeof handle);
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(status == 0);
    EXPECT(free_now() == 724 * kMiB);
    EXPECT_RESULT(cuMemFree(at), 0);
    EXPECT(free_now() == 1024 * kMiB);
}

void scenario_ipc_open() {
    start();
    CUipcMemHandle handle{};
    EXPECT(read(0, &handle, sizeof handle) == sizeof handle);
    EXPECT(free_now() == 724 * kMiB);
    CUdeviceptr at = 0;
    EXPECT_RESULT(
        (Function<CUdeviceptr*, CUipcMemHandle, unsigned>{"cuIpcOpenMemHandle_v2"}(&at, handle, 1)),
        0
    );
    EXPECT(free_now() == 724 * kMiB);
    // What is the exporter's cannot be given back here.
    cuMemFree(at);
    EXPECT_RESULT(Function<CUdeviceptr>{"cuIpcCloseMemHandle"}(at), 0);
    EXPECT(free_now() == 724 * kMiB);
}

// Four threads that allocate and free at random, for so many milliseconds, then free everything.
// Whole blocks of the driver (2 MiB) only, so that what the card has in use is what was asked for.
void scenario_race(long milliseconds) {
    const CUcontext context = start();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            EXPECT_RESULT(cuCtxSetCurrent(context), 0);
            std::mt19937_64 random(
                static_cast<std::uint64_t>(getpid()) * 4 + static_cast<std::uint64_t>(t)
            );
            std::vector<std::pair<std::size_t, std::uint64_t>> held;
            while (!stop) {
                const std::size_t which = random() % families().size();
                if (random() % 3 != 0 || held.empty()) {
                    std::uint64_t at = 0;
                    const int result =
                        families()[which].allocate((random() % 12 + 1) * 2 * kMiB, at);
                    EXPECT(result == 0 || result == CUDA_ERROR_OUT_OF_MEMORY);
                    if (result == 0) held.emplace_back(which, at);
                }
                if (held.size() > 6 || (random() % 2 == 0 && !held.empty())) {
                    std::swap(held[random() % held.size()], held.back());
                    families()[held.back().first].release(held.back().second);
                    held.pop_back();
                }
            }
            for (const auto& [family, at] : held) families()[family].release(at);
        });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_RESULT(cuCtxSynchronize(), 0);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3) return 2;
    library_path = arguments[1];
    library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
    }
    const std::string argument = count > 3 ? arguments[3] : "0";
    const std::map<std::string, std::function<void()>> scenarios = {
        {"families", scenario_families},
        {"frees", scenario_frees},
        {"vmm", scenario_vmm},
        {"pools", scenario_pools},
        {"graph_memory", scenario_graph_memory},
        {"contexts", scenario_contexts},
        {"fork", scenario_fork},
        {"fork_before_init", scenario_fork_before_init},
        {"external", scenario_external},
        {"green", scenario_green},
        {"roads", scenario_roads},
        {"bystander", scenario_bystander},
        {"after_init", scenario_after_init},
        {"refused", scenario_refused},
        {"open", scenario_open},
        {"sizes", scenario_sizes},
        {"follow", scenario_follow},
        {"spin", [&] { scenario_spin(argument); }},
        {"ipc", scenario_ipc},
        {"watch", scenario_watch},
        {"ipc_open", scenario_ipc_open},
        {"nvml", [&] { scenario_nvml(argument.c_str()); }},
        {"hold", [&] { scenario_hold(std::stoul(argument)); }},
        {"race", [&] { scenario_race(std::stol(argument)); }},
    };
    const auto found = scenarios.find(arguments[2]);
    if (found == scenarios.end()) return 2;
    found->second();
    std::fflush(stdout);
    // Without destructors: threads of the driver may still run.
    _exit(0);
}
