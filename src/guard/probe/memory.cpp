// One process and one quota: what is charged, and when it comes back.
#include <fcntl.h>
#include <sys/mman.h>

#include "guard/probe/families.h"

namespace probe {
namespace {

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

}  // namespace

void add_memory(Scenarios& to) {
    to["families"] = scenario_families;
    to["frees"] = scenario_frees;
    to["vmm"] = scenario_vmm;
    to["pools"] = scenario_pools;
    to["graph_memory"] = scenario_graph_memory;
    to["external"] = scenario_external;
}

}  // namespace probe
