// The functions of NVML that are called, and how. Internal to the sources of nvml.h.
#pragma once

#include "gpu/nvml.h"

namespace egpu::gpu {

enum NvmlFunction : int {
    kInit,
    kShutdown,
    kDriverVersion,
    kCount,
    kHandleByIndex,
    kUuid,
    kName,
    kMinor,
    kPci,
    kMemory,
    kUtilization,
    kCapability,
    kBrand,
    kMigMode,
    kMigSlots,
    kMigHandle,
    kGpuInstance,
    kComputeInstance,
    kRemappedRows,
    kEcc,
    kFieldValues,
    kFabric,
    kEventCreate,
    kEventFree,
    kEventTypes,
    kEventRegister,
    kEventWait,
    kCudaVersion,
    kPersistence,
    kRetiredPages,
    kAncestor,
    kLinkState,
    kLinkRemoteType,
    kLinkRemotePci,
    // The lists of processes, in the order of ProcessKind: first those with instances, then
    // without.
    kComputeList,
    kGraphicsList,
    kMpsList,
    kComputeListV1,
    kGraphicsListV1,
    kMpsListV1,
    kProcessUtilization,
    kFunctionCount
};

// Newest first. Only versions whose C signature is the same stand in one row.
inline constexpr const char* kNvmlNames[kFunctionCount][3] = {
    {"nvmlInit_v2", "nvmlInit", nullptr},
    {"nvmlShutdown", nullptr, nullptr},
    {"nvmlSystemGetDriverVersion", nullptr, nullptr},
    {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount", nullptr},
    {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex", nullptr},
    {"nvmlDeviceGetUUID", nullptr, nullptr},
    {"nvmlDeviceGetName", nullptr, nullptr},
    {"nvmlDeviceGetMinorNumber", nullptr, nullptr},
    {"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"},
    {"nvmlDeviceGetMemoryInfo", nullptr, nullptr},
    {"nvmlDeviceGetUtilizationRates", nullptr, nullptr},
    {"nvmlDeviceGetCudaComputeCapability", nullptr, nullptr},
    {"nvmlDeviceGetBrand", nullptr, nullptr},
    {"nvmlDeviceGetMigMode", nullptr, nullptr},
    {"nvmlDeviceGetMaxMigDeviceCount", nullptr, nullptr},
    {"nvmlDeviceGetMigDeviceHandleByIndex", nullptr, nullptr},
    {"nvmlDeviceGetGpuInstanceId", nullptr, nullptr},
    {"nvmlDeviceGetComputeInstanceId", nullptr, nullptr},
    {"nvmlDeviceGetRemappedRows", nullptr, nullptr},
    {"nvmlDeviceGetTotalEccErrors", nullptr, nullptr},
    {"nvmlDeviceGetFieldValues", nullptr, nullptr},
    {"nvmlDeviceGetGpuFabricInfo", nullptr, nullptr},
    {"nvmlEventSetCreate", nullptr, nullptr},
    {"nvmlEventSetFree", nullptr, nullptr},
    {"nvmlDeviceGetSupportedEventTypes", nullptr, nullptr},
    {"nvmlDeviceRegisterEvents", nullptr, nullptr},
    {"nvmlEventSetWait_v2", "nvmlEventSetWait", nullptr},
    {"nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion", nullptr},
    {"nvmlDeviceGetPersistenceMode", nullptr, nullptr},
    {"nvmlDeviceGetRetiredPagesPendingStatus", nullptr, nullptr},
    {"nvmlDeviceGetTopologyCommonAncestor", nullptr, nullptr},
    {"nvmlDeviceGetNvLinkState", nullptr, nullptr},
    {"nvmlDeviceGetNvLinkRemoteDeviceType", nullptr, nullptr},
    {"nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetNvLinkRemotePciInfo", nullptr},
    {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", nullptr},
    {"nvmlDeviceGetGraphicsRunningProcesses_v3",
     "nvmlDeviceGetGraphicsRunningProcesses_v2",
     nullptr},
    {"nvmlDeviceGetMPSComputeRunningProcesses_v3",
     "nvmlDeviceGetMPSComputeRunningProcesses_v2",
     nullptr},
    {"nvmlDeviceGetComputeRunningProcesses", nullptr, nullptr},
    {"nvmlDeviceGetGraphicsRunningProcesses", nullptr, nullptr},
    {"nvmlDeviceGetMPSComputeRunningProcesses", nullptr, nullptr},
    {"nvmlDeviceGetProcessUtilization", nullptr, nullptr},
};

template <class... Args>
nvml::Code Nvml::call(int function, Args... args) const {
    for (void* symbol : symbols_[static_cast<std::size_t>(function)]) {
        if (symbol == nullptr) continue;
        const nvml::Code code = reinterpret_cast<nvml::Code (*)(Args...)>(symbol)(args...);
        if (code != nvml::Code::kFunctionNotFound) return code;
    }
    return nvml::Code::kFunctionNotFound;
}

}  // namespace egpu::gpu
