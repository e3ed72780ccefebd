// Test only: what the scenarios of the probe share (probe.cpp says what that is). Uses the driver
// as programs do; knows nothing of the guard, which is preloaded by the test.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include <unistd.h>

#include "guard/cuda_abi.h"

namespace probe {

using namespace egpu::cuda;

inline constexpr std::size_t kMiB = 1 << 20;
extern const char* library_path;  // of the driver
extern void* library;

#define EXPECT(condition)                                               \
    do {                                                                \
        if (!(condition)) {                                             \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::fflush(stdout);                                        \
            _exit(1);                                                   \
        }                                                               \
    } while (false)

#define EXPECT_RESULT(call, wanted)                                                             \
    do {                                                                                        \
        const int got = (call);                                                                 \
        if (got != (wanted)) {                                                                  \
            std::printf("%s:%d: %s is %d, not %d\n", __FILE__, __LINE__, #call, got, (wanted)); \
            std::fflush(stdout);                                                                \
            _exit(1);                                                                           \
        }                                                                                       \
    } while (false)

// The driver's function as dlsym gives it; ends the program when there is none.
void* find(const char* name);

template <class... A>
struct Function {
    const char* name;
    void* known = nullptr;
    int operator()(A... arguments) {
        if (known == nullptr) known = find(name);
        return reinterpret_cast<int (*)(A...)>(known)(arguments...);
    }
};

inline Function<unsigned> cuInit{"cuInit"};
inline Function<std::size_t*, CUdevice> cuDeviceTotalMem{"cuDeviceTotalMem_v2"};
inline Function<CUcontext*, unsigned, CUdevice> cuCtxCreate{"cuCtxCreate_v2"};
inline Function<CUcontext> cuCtxDestroy{"cuCtxDestroy_v2"};
inline Function<CUcontext*, CUdevice> cuDevicePrimaryCtxRetain{"cuDevicePrimaryCtxRetain"};
inline Function<CUdevice> cuDevicePrimaryCtxReset{"cuDevicePrimaryCtxReset_v2"};
inline Function<CUcontext> cuCtxSetCurrent{"cuCtxSetCurrent"};
inline Function<> cuCtxSynchronize{"cuCtxSynchronize"};
inline Function<std::size_t*, std::size_t*> cuMemGetInfo{"cuMemGetInfo_v2"};
inline Function<CUdeviceptr*, std::size_t> cuMemAlloc{"cuMemAlloc_v2"};
inline Function<CUdeviceptr> cuMemFree{"cuMemFree_v2"};
inline Function<CUdeviceptr*, std::size_t*, std::size_t, std::size_t, unsigned> cuMemAllocPitch{
    "cuMemAllocPitch_v2"};
inline Function<CUdeviceptr*, std::size_t, unsigned> cuMemAllocManaged{"cuMemAllocManaged"};
inline Function<CUdeviceptr*, std::size_t, CUstream> cuMemAllocAsync{"cuMemAllocAsync"};
inline Function<CUdeviceptr, CUstream> cuMemFreeAsync{"cuMemFreeAsync"};
inline Function<CUdeviceptr*, std::size_t, CUmemoryPool, CUstream> cuMemAllocFromPoolAsync{
    "cuMemAllocFromPoolAsync"};
inline Function<CUmemoryPool*, const CUmemPoolProps*> cuMemPoolCreate{"cuMemPoolCreate"};
inline Function<CUmemoryPool> cuMemPoolDestroy{"cuMemPoolDestroy"};
inline Function<CUmemoryPool, int, void*> cuMemPoolSetAttribute{"cuMemPoolSetAttribute"};
inline Function<CUmemoryPool*, CUdevice> cuDeviceGetDefaultMemPool{"cuDeviceGetDefaultMemPool"};
inline Function<
    CUmemGenericAllocationHandle*,
    std::size_t,
    const CUmemAllocationProp*,
    unsigned long long>
    cuMemCreate{"cuMemCreate"};
inline Function<CUmemGenericAllocationHandle> cuMemRelease{"cuMemRelease"};
inline Function<CUdeviceptr*, std::size_t, std::size_t, CUdeviceptr, unsigned long long>
    cuMemAddressReserve{"cuMemAddressReserve"};
inline Function<
    CUdeviceptr,
    std::size_t,
    std::size_t,
    CUmemGenericAllocationHandle,
    unsigned long long>
    cuMemMap{"cuMemMap"};
inline Function<CUdeviceptr, std::size_t> cuMemUnmap{"cuMemUnmap"};
inline Function<CUmemGenericAllocationHandle*, void*> cuMemRetainAllocationHandle{
    "cuMemRetainAllocationHandle"};
inline Function<CUarray*, const CUDA_ARRAY_DESCRIPTOR*> cuArrayCreate{"cuArrayCreate_v2"};
inline Function<CUarray*, const CUDA_ARRAY3D_DESCRIPTOR*> cuArray3DCreate{"cuArray3DCreate_v2"};
inline Function<CUarray> cuArrayDestroy{"cuArrayDestroy"};
inline Function<CUmipmappedArray*, const CUDA_ARRAY3D_DESCRIPTOR*, unsigned> cuMipmappedArrayCreate{
    "cuMipmappedArrayCreate"};
inline Function<CUmipmappedArray> cuMipmappedArrayDestroy{"cuMipmappedArrayDestroy"};
inline Function<CUstream*, unsigned> cuStreamCreate{"cuStreamCreate"};
inline Function<CUstream> cuStreamSynchronize{"cuStreamSynchronize"};
inline Function<CUstream, int> cuStreamBeginCapture{"cuStreamBeginCapture_v2"};
inline Function<CUstream, CUgraph*> cuStreamEndCapture{"cuStreamEndCapture"};
inline Function<CUgraphExec*, CUgraph, unsigned long long> cuGraphInstantiate{
    "cuGraphInstantiateWithFlags"};
inline Function<CUgraphExec, CUstream> cuGraphLaunch{"cuGraphLaunch"};
inline Function<CUgraphExec> cuGraphExecDestroy{"cuGraphExecDestroy"};
inline Function<CUdevice> cuDeviceGraphMemTrim{"cuDeviceGraphMemTrim"};
using LaunchKernel = Function<
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

// Initialises CUDA and makes the first card's primary context current.
CUcontext start();
// As cuMemGetInfo tells them, in bytes.
std::size_t free_now();
std::size_t total_now();
// A kernel of the simulated card that takes 100 us; of a module loaded anew.
CUfunction kernel_of_100us();
// Physical memory of the first card.
CUmemAllocationProp on_card();

using Scenarios = std::map<std::string, std::function<void()>>;
// `argument` is what the scenario was given on the command line.
void add_memory(Scenarios& to);
void add_contexts(Scenarios& to);
void add_roads(Scenarios& to);
void add_reports(Scenarios& to, const std::string& argument);
void add_sharing(Scenarios& to, const std::string& argument);
void add_captures(Scenarios& to);
void add_odd(Scenarios& to, const std::string& argument);
void add_launches(Scenarios& to, const std::string& argument);

}  // namespace probe
