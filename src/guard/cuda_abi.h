// The part of the CUDA driver API's binary interface that the guard and the simulated driver need.
//
// Own declarations of public ABI facts, so that nothing here is built with CUDA's headers; names
// are the driver's own, because they are what a reader looks up. Structs whose layout matters carry
// static_asserts. A `_v1` suffix marks the layout of the 32-bit-size era (before CUDA 3.2).
#pragma once

#include <cstddef>
#include <cstdint>

namespace egpu::cuda {

// Result codes. The type is the C int that the driver returns: codes of newer drivers pass through.
using CUresult = int;
inline constexpr CUresult CUDA_SUCCESS = 0;
inline constexpr CUresult CUDA_ERROR_INVALID_VALUE = 1;
inline constexpr CUresult CUDA_ERROR_OUT_OF_MEMORY = 2;
inline constexpr CUresult CUDA_ERROR_NOT_INITIALIZED = 3;
inline constexpr CUresult CUDA_ERROR_DEINITIALIZED = 4;
inline constexpr CUresult CUDA_ERROR_NO_DEVICE = 100;
inline constexpr CUresult CUDA_ERROR_INVALID_DEVICE = 101;
inline constexpr CUresult CUDA_ERROR_INVALID_IMAGE = 200;
inline constexpr CUresult CUDA_ERROR_INVALID_CONTEXT = 201;
inline constexpr CUresult CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708;
inline constexpr CUresult CUDA_ERROR_CONTEXT_IS_DESTROYED = 709;
inline constexpr CUresult CUDA_ERROR_INVALID_HANDLE = 400;
inline constexpr CUresult CUDA_ERROR_NOT_FOUND = 500;
inline constexpr CUresult CUDA_ERROR_NOT_READY = 600;
inline constexpr CUresult CUDA_ERROR_ILLEGAL_ADDRESS = 700;
inline constexpr CUresult CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701;
inline constexpr CUresult CUDA_ERROR_LAUNCH_FAILED = 719;
inline constexpr CUresult CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720;
inline constexpr CUresult CUDA_ERROR_NOT_PERMITTED = 800;
inline constexpr CUresult CUDA_ERROR_NOT_SUPPORTED = 801;
inline constexpr CUresult CUDA_ERROR_SYSTEM_NOT_READY = 802;
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900;
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901;
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903;
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906;
inline constexpr CUresult CUDA_ERROR_UNKNOWN = 999;

using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUdeviceptr_v1 = std::uint32_t;
using CUmemGenericAllocationHandle = std::uint64_t;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUlibrary = struct CUlib_st*;
using CUkernel = struct CUkern_st*;
using CUarray = struct CUarray_st*;
using CUmipmappedArray = struct CUmipmappedArray_st*;
using CUevent = struct CUevent_st*;
using CUstream = struct CUstream_st*;
using CUgraph = struct CUgraph_st*;
using CUgreenCtx = struct CUgreenCtx_st*;
using CUdevResourceDesc = struct CUdevResourceDesc_st*;
using CUexternalMemory = struct CUextMemory_st*;
using CUgraphNode = struct CUgraphNode_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUmemoryPool = struct CUmemPoolHandle_st*;
using CUextMemory = struct CUextMemory_st*;

// Stream handles that name a default stream; a null stream is the one of the API's flavour.
inline constexpr std::uintptr_t CU_STREAM_LEGACY = 1;
inline constexpr std::uintptr_t CU_STREAM_PER_THREAD = 2;
inline constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
inline constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;

using CUstreamCaptureStatus = int;
inline constexpr int CU_STREAM_CAPTURE_MODE_RELAXED = 2;
inline constexpr CUstreamCaptureStatus CU_STREAM_CAPTURE_STATUS_NONE = 0;
inline constexpr CUstreamCaptureStatus CU_STREAM_CAPTURE_STATUS_ACTIVE = 1;
inline constexpr CUstreamCaptureStatus CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2;

// cuGetProcAddress: flags and the status that the 5-argument version returns beside the pointer.
using cuuint64_t = std::uint64_t;
inline constexpr cuuint64_t CU_GET_PROC_ADDRESS_DEFAULT = 0;
inline constexpr cuuint64_t CU_GET_PROC_ADDRESS_LEGACY_STREAM = 1;
inline constexpr cuuint64_t CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM = 2;
using CUdriverProcAddressQueryResult = int;
inline constexpr CUdriverProcAddressQueryResult CU_GET_PROC_ADDRESS_SUCCESS = 0;
inline constexpr CUdriverProcAddressQueryResult CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND = 1;
inline constexpr CUdriverProcAddressQueryResult CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT = 2;

struct CUuuid {
    std::uint8_t bytes[16];
};
static_assert(sizeof(CUuuid) == 16);

// Arrays.
using CUarray_format = int;
inline constexpr CUarray_format CU_AD_FORMAT_UNSIGNED_INT8 = 0x01;
inline constexpr CUarray_format CU_AD_FORMAT_UNSIGNED_INT16 = 0x02;
inline constexpr CUarray_format CU_AD_FORMAT_UNSIGNED_INT32 = 0x03;
inline constexpr CUarray_format CU_AD_FORMAT_SIGNED_INT8 = 0x08;
inline constexpr CUarray_format CU_AD_FORMAT_SIGNED_INT16 = 0x09;
inline constexpr CUarray_format CU_AD_FORMAT_SIGNED_INT32 = 0x0a;
inline constexpr CUarray_format CU_AD_FORMAT_HALF = 0x10;
inline constexpr CUarray_format CU_AD_FORMAT_FLOAT = 0x20;
inline constexpr unsigned CUDA_ARRAY3D_LAYERED = 0x01;
inline constexpr unsigned CUDA_ARRAY3D_CUBEMAP = 0x04;
inline constexpr unsigned CUDA_ARRAY3D_SPARSE = 0x40;
inline constexpr unsigned CUDA_ARRAY3D_DEFERRED_MAPPING = 0x80;

struct CUDA_ARRAY_DESCRIPTOR_v1 {
    unsigned Width;
    unsigned Height;
    CUarray_format Format;
    unsigned NumChannels;
};
static_assert(sizeof(CUDA_ARRAY_DESCRIPTOR_v1) == 16);

struct CUDA_ARRAY_DESCRIPTOR {
    std::size_t Width;
    std::size_t Height;
    CUarray_format Format;
    unsigned NumChannels;
};
static_assert(sizeof(CUDA_ARRAY_DESCRIPTOR) == 24 && offsetof(CUDA_ARRAY_DESCRIPTOR, Format) == 16);

struct CUDA_ARRAY3D_DESCRIPTOR_v1 {
    unsigned Width;
    unsigned Height;
    unsigned Depth;
    CUarray_format Format;
    unsigned NumChannels;
    unsigned Flags;
};
static_assert(sizeof(CUDA_ARRAY3D_DESCRIPTOR_v1) == 24);

struct CUDA_ARRAY3D_DESCRIPTOR {
    std::size_t Width;
    std::size_t Height;
    std::size_t Depth;
    CUarray_format Format;
    unsigned NumChannels;
    unsigned Flags;
};
static_assert(
    sizeof(CUDA_ARRAY3D_DESCRIPTOR) == 40 && offsetof(CUDA_ARRAY3D_DESCRIPTOR, Format) == 24
);

// Places, pools, virtual memory management.
using CUmemLocationType = int;
inline constexpr CUmemLocationType CU_MEM_LOCATION_TYPE_DEVICE = 1;
inline constexpr CUmemLocationType CU_MEM_LOCATION_TYPE_HOST = 2;
inline constexpr CUmemLocationType CU_MEM_LOCATION_TYPE_HOST_NUMA = 3;
inline constexpr CUmemLocationType CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT = 4;
using CUmemAllocationType = int;
inline constexpr CUmemAllocationType CU_MEM_ALLOCATION_TYPE_PINNED = 1;
inline constexpr CUmemAllocationType CU_MEM_ALLOCATION_TYPE_MANAGED = 2;
using CUmemAllocationHandleType = int;
inline constexpr CUmemAllocationHandleType CU_MEM_HANDLE_TYPE_NONE = 0;
inline constexpr CUmemAllocationHandleType CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR = 1;

struct CUmemLocation {
    CUmemLocationType type;
    int id;
};
static_assert(sizeof(CUmemLocation) == 8);

struct CUmemAccessDesc {
    CUmemLocation location;
    int flags;
};
static_assert(sizeof(CUmemAccessDesc) == 12);

struct CUmemPoolProps {
    CUmemAllocationType allocType;
    CUmemAllocationHandleType handleTypes;
    CUmemLocation location;
    void* win32SecurityAttributes;
    std::size_t maxSize;
    std::uint16_t usage;
    std::uint8_t reserved[54];
};
static_assert(sizeof(CUmemPoolProps) == 88 && offsetof(CUmemPoolProps, maxSize) == 24);

using CUmemPool_attribute = int;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES = 1;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC = 2;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES = 3;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT = 5;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH = 6;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_USED_MEM_CURRENT = 7;
inline constexpr CUmemPool_attribute CU_MEMPOOL_ATTR_USED_MEM_HIGH = 8;

struct CUmemAllocationProp {
    CUmemAllocationType type;
    CUmemAllocationHandleType requestedHandleTypes;
    CUmemLocation location;
    void* win32HandleMetaData;
    struct {
        std::uint8_t compressionType;
        std::uint8_t gpuDirectRDMACapable;
        std::uint16_t usage;
        std::uint8_t reserved[4];
    } allocFlags;
};
static_assert(sizeof(CUmemAllocationProp) == 32 && offsetof(CUmemAllocationProp, allocFlags) == 24);

using CUmemAllocationGranularity_flags = int;
inline constexpr CUmemAllocationGranularity_flags CU_MEM_ALLOC_GRANULARITY_MINIMUM = 0;
inline constexpr CUmemAllocationGranularity_flags CU_MEM_ALLOC_GRANULARITY_RECOMMENDED = 1;

using CUmemOperationType = int;
inline constexpr CUmemOperationType CU_MEM_OPERATION_TYPE_MAP = 1;
inline constexpr CUmemOperationType CU_MEM_OPERATION_TYPE_UNMAP = 2;

struct CUarrayMapInfo {
    int resourceType;
    union {
        CUmipmappedArray mipmap;
        CUarray array;
    } resource;
    int subresourceType;
    union {
        struct {
            unsigned level;
            unsigned layer;
            unsigned offsetX;
            unsigned offsetY;
            unsigned offsetZ;
            unsigned extentWidth;
            unsigned extentHeight;
            unsigned extentDepth;
        } sparseLevel;
        struct {
            unsigned layer;
            unsigned long long offset;
            unsigned long long size;
        } miptail;
    } subresource;
    CUmemOperationType memOperationType;
    int memHandleType;
    union {
        CUmemGenericAllocationHandle memHandle;
    } memHandle;
    unsigned long long offset;
    unsigned deviceBitMask;
    unsigned flags;
    unsigned reserved[2];
};
static_assert(sizeof(CUarrayMapInfo) == 96 && offsetof(CUarrayMapInfo, memOperationType) == 56);

struct CUDA_EXTERNAL_MEMORY_HANDLE_DESC {
    int type;
    union {
        int fd;
        struct {
            void* handle;
            const void* name;
        } win32;
        const void* nvSciBufObject;
    } handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(
    sizeof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC) == 104 &&
    offsetof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC, size) == 24
);

struct CUipcMemHandle {
    char reserved[64];
};
struct CUipcEventHandle {
    char reserved[64];
};
struct CUmemPoolPtrExportData {
    std::uint8_t reserved[64];
};

// Attributes (the numbers of the public enumerations).
using CUdevice_attribute = int;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED = 102;
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115;

using CUgraphMem_attribute = int;
inline constexpr CUgraphMem_attribute CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT = 0;
inline constexpr CUgraphMem_attribute CU_GRAPH_MEM_ATTR_USED_MEM_HIGH = 1;
inline constexpr CUgraphMem_attribute CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT = 2;
inline constexpr CUgraphMem_attribute CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH = 3;

// Launches.
struct CUlaunchAttribute {
    int id;
    char pad[4];
    union {
        char pad[64];
        std::uint64_t align;
    } value;
};
static_assert(sizeof(CUlaunchAttribute) == 72);

struct CUlaunchConfig {
    unsigned gridDimX;
    unsigned gridDimY;
    unsigned gridDimZ;
    unsigned blockDimX;
    unsigned blockDimY;
    unsigned blockDimZ;
    unsigned sharedMemBytes;
    CUstream hStream;
    CUlaunchAttribute* attrs;
    unsigned numAttrs;
};
static_assert(sizeof(CUlaunchConfig) == 56 && offsetof(CUlaunchConfig, hStream) == 32);

struct CUDA_LAUNCH_PARAMS {
    CUfunction function;
    unsigned gridDimX;
    unsigned gridDimY;
    unsigned gridDimZ;
    unsigned blockDimX;
    unsigned blockDimY;
    unsigned blockDimZ;
    unsigned sharedMemBytes;
    CUstream hStream;
    void** kernelParams;
};
static_assert(sizeof(CUDA_LAUNCH_PARAMS) == 56 && offsetof(CUDA_LAUNCH_PARAMS, hStream) == 40);

// Graphs.
using CUgraphNodeType = int;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_KERNEL = 0;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_MEMCPY = 1;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_MEMSET = 2;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_HOST = 3;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_GRAPH = 4;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_EMPTY = 5;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_MEM_ALLOC = 10;
inline constexpr CUgraphNodeType CU_GRAPH_NODE_TYPE_MEM_FREE = 11;

struct CUDA_KERNEL_NODE_PARAMS_v1 {
    CUfunction func;
    unsigned gridDimX;
    unsigned gridDimY;
    unsigned gridDimZ;
    unsigned blockDimX;
    unsigned blockDimY;
    unsigned blockDimZ;
    unsigned sharedMemBytes;
    void** kernelParams;
    void** extra;
};
static_assert(sizeof(CUDA_KERNEL_NODE_PARAMS_v1) == 56);

struct CUDA_KERNEL_NODE_PARAMS {
    CUfunction func;
    unsigned gridDimX;
    unsigned gridDimY;
    unsigned gridDimZ;
    unsigned blockDimX;
    unsigned blockDimY;
    unsigned blockDimZ;
    unsigned sharedMemBytes;
    void** kernelParams;
    void** extra;
    CUkernel kern;
    CUcontext ctx;
};
static_assert(sizeof(CUDA_KERNEL_NODE_PARAMS) == 72);

struct CUDA_MEM_ALLOC_NODE_PARAMS {
    CUmemPoolProps poolProps;
    const CUmemAccessDesc* accessDescs;
    std::size_t accessDescCount;
    std::size_t bytesize;
    CUdeviceptr dptr;
};
static_assert(sizeof(CUDA_MEM_ALLOC_NODE_PARAMS) == 120);

struct CUDA_GRAPH_INSTANTIATE_PARAMS {
    cuuint64_t flags;
    CUstream hUploadStream;
    CUgraphNode hErrNode_out;
    int result_out;
};
static_assert(sizeof(CUDA_GRAPH_INSTANTIATE_PARAMS) == 32);

// cuCtxCreate_v3 and _v4.
struct CUexecAffinityParam {
    int type;
    unsigned smCount;
};
static_assert(sizeof(CUexecAffinityParam) == 8);

struct CUctxCreateParams {
    CUexecAffinityParam* execAffinityParams;
    int numExecAffinityParams;
    void* cigParams;
};
static_assert(sizeof(CUctxCreateParams) == 24);

}  // namespace egpu::cuda
