// The driver's functions that the guard itself calls and does not hook. Looked up on first use; a
// function that the driver lacks answers CUDA_ERROR_NOT_FOUND.
#pragma once

#include <atomic>
#include <cstddef>

#include "guard/cuda_abi.h"
#include "guard/hook_table.h"

namespace egpu::guard {

template <class F>
class DriverFunction;

template <class... A>
class DriverFunction<cuda::CUresult(A...)> {
  public:
    constexpr explicit DriverFunction(const char* name, const char* older = nullptr)
        : name_(name), older_(older) {}
    cuda::CUresult operator()(A... arguments) {
        void* function = known_.load(std::memory_order_acquire);
        if (function == nullptr) {
            function = driver_function(DriverLibrary::cuda, name_);
            if (function == nullptr && older_ != nullptr) {
                function = driver_function(DriverLibrary::cuda, older_);
            }
            if (function == nullptr) return cuda::CUDA_ERROR_NOT_FOUND;
            known_.store(function, std::memory_order_release);
        }
        return reinterpret_cast<cuda::CUresult (*)(A...)>(function)(arguments...);
    }

  private:
    const char* name_;
    const char* older_;  // another spelling of the same ABI
    std::atomic<void*> known_{nullptr};
};

// clang-format off
struct Driver {
    DriverFunction<cuda::CUresult(int*)> DeviceGetCount{"cuDeviceGetCount"};
    DriverFunction<cuda::CUresult(cuda::CUdevice*, int)> DeviceGet{"cuDeviceGet"};
    DriverFunction<cuda::CUresult(cuda::CUuuid*, cuda::CUdevice)> DeviceGetUuid{"cuDeviceGetUuid_v2", "cuDeviceGetUuid"};
    DriverFunction<cuda::CUresult(int*, int, cuda::CUdevice)> DeviceGetAttribute{"cuDeviceGetAttribute"};
    DriverFunction<cuda::CUresult(cuda::CUdevice*)> CtxGetDevice{"cuCtxGetDevice"};
    DriverFunction<cuda::CUresult(cuda::CUcontext*)> CtxGetCurrent{"cuCtxGetCurrent"};
    DriverFunction<cuda::CUresult(cuda::CUcontext)> CtxPushCurrent{"cuCtxPushCurrent_v2"};
    DriverFunction<cuda::CUresult(cuda::CUcontext*)> CtxPopCurrent{"cuCtxPopCurrent_v2"};
    DriverFunction<cuda::CUresult(cuda::CUdevice, unsigned*, int*)> PrimaryCtxGetState{"cuDevicePrimaryCtxGetState"};
    DriverFunction<cuda::CUresult(cuda::CUmemoryPool*, cuda::CUdevice)> DeviceGetMemPool{"cuDeviceGetMemPool"};
    DriverFunction<cuda::CUresult(cuda::CUmemoryPool*, cuda::CUdevice)> DeviceGetDefaultMemPool{"cuDeviceGetDefaultMemPool"};
    DriverFunction<cuda::CUresult(cuda::CUmemoryPool, int, void*)> MemPoolGetAttribute{"cuMemPoolGetAttribute"};
    DriverFunction<cuda::CUresult(cuda::CUdevice, int, void*)> DeviceGetGraphMemAttribute{"cuDeviceGetGraphMemAttribute"};
    DriverFunction<cuda::CUresult(cuda::CUgraph, cuda::CUgraphNode*, std::size_t*)> GraphGetNodes{"cuGraphGetNodes"};
    DriverFunction<cuda::CUresult(cuda::CUgraphNode, int*)> GraphNodeGetType{"cuGraphNodeGetType"};
    DriverFunction<cuda::CUresult(cuda::CUgraphNode, cuda::CUDA_MEM_ALLOC_NODE_PARAMS*)> GraphMemAllocNodeGetParams{"cuGraphMemAllocNodeGetParams"};
    DriverFunction<cuda::CUresult(cuda::CUgraphNode, cuda::CUgraph*)> GraphChildGraphNodeGetGraph{"cuGraphChildGraphNodeGetGraph"};
    // By flavour of the null stream: [0] legacy, [1] per thread.
    DriverFunction<cuda::CUresult(cuda::CUstream, int*)> StreamIsCapturing[2]{
        DriverFunction<cuda::CUresult(cuda::CUstream, int*)>{"cuStreamIsCapturing"},
        DriverFunction<cuda::CUresult(cuda::CUstream, int*)>{"cuStreamIsCapturing_ptsz"}};
    DriverFunction<cuda::CUresult(int*)> ThreadExchangeStreamCaptureMode{"cuThreadExchangeStreamCaptureMode"};
    DriverFunction<cuda::CUresult(cuda::CUstream, cuda::CUcontext*)> StreamGetCtx[2]{
        DriverFunction<cuda::CUresult(cuda::CUstream, cuda::CUcontext*)>{"cuStreamGetCtx"},
        DriverFunction<cuda::CUresult(cuda::CUstream, cuda::CUcontext*)>{"cuStreamGetCtx_ptsz"}};
    DriverFunction<cuda::CUresult(cuda::CUevent*, unsigned)> EventCreate{"cuEventCreate"};
    DriverFunction<cuda::CUresult(cuda::CUevent)> EventDestroy{"cuEventDestroy_v2"};
    DriverFunction<cuda::CUresult(cuda::CUevent, cuda::CUstream)> EventRecord[2]{
        DriverFunction<cuda::CUresult(cuda::CUevent, cuda::CUstream)>{"cuEventRecord"},
        DriverFunction<cuda::CUresult(cuda::CUevent, cuda::CUstream)>{"cuEventRecord_ptsz"}};
    DriverFunction<cuda::CUresult(cuda::CUevent)> EventQuery{"cuEventQuery"};
    DriverFunction<cuda::CUresult(float*, cuda::CUevent, cuda::CUevent)> EventElapsedTime{"cuEventElapsedTime_v2", "cuEventElapsedTime"};
};
// clang-format on

extern Driver driver;

}  // namespace egpu::guard
