// The part of NVML's binary interface that the guard answers for: memory and process lists of one
// card. Own declarations of public ABI facts. (gpu/nvml_abi.h is the agent's; the guard depends on
// nothing above it.)
#pragma once

#include <cstddef>
#include <cstdint>

namespace egpu::nvml {

using nvmlReturn_t = int;
inline constexpr nvmlReturn_t NVML_SUCCESS = 0;
inline constexpr nvmlReturn_t NVML_ERROR_UNINITIALIZED = 1;
inline constexpr nvmlReturn_t NVML_ERROR_INVALID_ARGUMENT = 2;
inline constexpr nvmlReturn_t NVML_ERROR_NOT_SUPPORTED = 3;
inline constexpr nvmlReturn_t NVML_ERROR_NOT_FOUND = 6;
inline constexpr nvmlReturn_t NVML_ERROR_INSUFFICIENT_SIZE = 7;
inline constexpr nvmlReturn_t NVML_ERROR_FUNCTION_NOT_FOUND = 13;
inline constexpr nvmlReturn_t NVML_ERROR_UNKNOWN = 999;

using nvmlDevice_t = struct nvmlDevice_st*;

struct nvmlMemory_t {
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
};
static_assert(sizeof(nvmlMemory_t) == 24);

struct nvmlMemory_v2_t {
    unsigned version;
    unsigned long long total;
    unsigned long long reserved;
    unsigned long long free;
    unsigned long long used;
};
static_assert(sizeof(nvmlMemory_v2_t) == 40 && offsetof(nvmlMemory_v2_t, total) == 8);
inline constexpr unsigned NVML_MEMORY_V2 = sizeof(nvmlMemory_v2_t) | (2U << 24U);

// nvmlDeviceGet*RunningProcesses without a suffix.
struct nvmlProcessInfo_v1_t {
    unsigned pid;
    unsigned long long usedGpuMemory;
};
static_assert(sizeof(nvmlProcessInfo_v1_t) == 16);

// …_v2 and …_v3.
struct nvmlProcessInfo_v2_t {
    unsigned pid;
    unsigned long long usedGpuMemory;
    unsigned gpuInstanceId;
    unsigned computeInstanceId;
};
static_assert(sizeof(nvmlProcessInfo_v2_t) == 24);

struct nvmlUtilization_t {
    unsigned gpu;
    unsigned memory;
};
static_assert(sizeof(nvmlUtilization_t) == 8);

struct nvmlProcessUtilizationSample_t {
    unsigned pid;
    unsigned long long timeStamp;
    unsigned smUtil;
    unsigned memUtil;
    unsigned encUtil;
    unsigned decUtil;
};
static_assert(sizeof(nvmlProcessUtilizationSample_t) == 32);

inline constexpr unsigned NVML_DEVICE_UUID_BUFFER = 96;

}  // namespace egpu::nvml
