// The driver's descriptions of copies of rectangles and boxes (own declarations of public facts).
#pragma once

#include "guard/cuda_abi.h"

namespace egpu::testing::cuda {

using CUmemorytype = int;
inline constexpr CUmemorytype CU_MEMORYTYPE_HOST = 1;
inline constexpr CUmemorytype CU_MEMORYTYPE_DEVICE = 2;
inline constexpr CUmemorytype CU_MEMORYTYPE_ARRAY = 3;
inline constexpr CUmemorytype CU_MEMORYTYPE_UNIFIED = 4;

struct CUDA_MEMCPY2D {
    std::size_t srcXInBytes, srcY;
    CUmemorytype srcMemoryType;
    const void* srcHost;
    egpu::cuda::CUdeviceptr srcDevice;
    egpu::cuda::CUarray srcArray;
    std::size_t srcPitch;
    std::size_t dstXInBytes, dstY;
    CUmemorytype dstMemoryType;
    void* dstHost;
    egpu::cuda::CUdeviceptr dstDevice;
    egpu::cuda::CUarray dstArray;
    std::size_t dstPitch;
    std::size_t WidthInBytes, Height;
};
static_assert(sizeof(CUDA_MEMCPY2D) == 128 && offsetof(CUDA_MEMCPY2D, WidthInBytes) == 112);

// Also cuMemcpy3DPeer's: its contexts lie where this has the reserved pointers.
struct CUDA_MEMCPY3D {
    std::size_t srcXInBytes, srcY, srcZ, srcLOD;
    CUmemorytype srcMemoryType;
    const void* srcHost;
    egpu::cuda::CUdeviceptr srcDevice;
    egpu::cuda::CUarray srcArray;
    void* reserved0;
    std::size_t srcPitch, srcHeight;
    std::size_t dstXInBytes, dstY, dstZ, dstLOD;
    CUmemorytype dstMemoryType;
    void* dstHost;
    egpu::cuda::CUdeviceptr dstDevice;
    egpu::cuda::CUarray dstArray;
    void* reserved1;
    std::size_t dstPitch, dstHeight;
    std::size_t WidthInBytes, Height, Depth;
};
static_assert(sizeof(CUDA_MEMCPY3D) == 200 && offsetof(CUDA_MEMCPY3D, WidthInBytes) == 176);

struct CUDA_MEMSET_NODE_PARAMS {
    egpu::cuda::CUdeviceptr dst;
    std::size_t pitch;
    unsigned value;
    unsigned elementSize;
    std::size_t width, height;
};
static_assert(sizeof(CUDA_MEMSET_NODE_PARAMS) == 40);

}  // namespace egpu::testing::cuda
