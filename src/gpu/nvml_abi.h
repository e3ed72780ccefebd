// NVML's C types and codes as this product uses them, declared by ourselves: builds need no CUDA,
// and a wrong assumption about a layout fails here rather than in a driver. Names follow NVML's;
// sizes are those of every driver since 450.
#pragma once

#include <cstddef>
#include <cstdint>

namespace egpu::gpu {
struct NvmlDevice;    // nvmlDevice_t points to it; opaque
struct NvmlEventSet;  // nvmlEventSet_t points to it; opaque
}  // namespace egpu::gpu

namespace egpu::nvml {

// nvmlReturn_t
enum class Code : std::int32_t {
    kSuccess = 0,
    kUninitialized = 1,
    kInvalidArgument = 2,
    kNotSupported = 3,
    kNoPermission = 4,
    kNotFound = 6,
    kInsufficientSize = 7,
    kDriverNotLoaded = 9,
    kTimeout = 10,
    kLibraryNotFound = 12,
    kFunctionNotFound = 13,
    kGpuIsLost = 15,
    kResetRequired = 16,
    kOperatingSystem = 17,
    kVersionMismatch = 18,
    kUnknown = 999,
};

using Device = gpu::NvmlDevice*;
using EventSet = gpu::NvmlEventSet*;

inline constexpr unsigned kUuidSize = 96;     // NVML_DEVICE_UUID_V2_BUFFER_SIZE
inline constexpr unsigned kNameSize = 96;     // NVML_DEVICE_NAME_V2_BUFFER_SIZE
inline constexpr unsigned kVersionSize = 80;  // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE

// nvmlPciInfo_t of _v3. The older ones are shorter and fill only what precedes busId: nobody here
// reads that.
struct PciInfo {
    char bus_id_legacy[16];
    std::uint32_t domain;
    std::uint32_t bus;
    std::uint32_t device;
    std::uint32_t pci_device_id;
    std::uint32_t pci_subsystem_id;
    char bus_id[32];
};
static_assert(sizeof(PciInfo) == 68 && offsetof(PciInfo, domain) == 16);
static_assert(offsetof(PciInfo, bus_id) == 36);

// nvmlMemory_t, bytes
struct Memory {
    std::uint64_t total;
    std::uint64_t free;
    std::uint64_t used;
};
static_assert(sizeof(Memory) == 24);

// nvmlUtilization_t, percent
struct Utilization {
    std::uint32_t gpu;
    std::uint32_t memory;
};
static_assert(sizeof(Utilization) == 8);

// What nvmlDeviceGet*RunningProcesses tell of one process, without a suffix. kNoValue: memory that
// the driver does not tell (as where WDDM or a coherent platform manages it).
inline constexpr std::uint64_t kNoValue = ~std::uint64_t{0};
struct ProcessInfoV1 {
    std::uint32_t pid;
    std::uint64_t used_bytes;
};
static_assert(sizeof(ProcessInfoV1) == 16);

// ..._v2 and ..._v3, but for _v3 in branch 535, whose first drivers have a longer struct there.
struct ProcessInfoV2 {
    std::uint32_t pid;
    std::uint64_t used_bytes;
    std::uint32_t gpu_instance;
    std::uint32_t compute_instance;
};
static_assert(sizeof(ProcessInfoV2) == 24);

// nvmlProcessUtilizationSample_t; microseconds of CLOCK_REALTIME, percent
struct ProcessUtilization {
    std::uint32_t pid;
    std::uint64_t time_us;
    std::uint32_t sm;
    std::uint32_t memory;
    std::uint32_t encoder;
    std::uint32_t decoder;
};
static_assert(sizeof(ProcessUtilization) == 32 && offsetof(ProcessUtilization, sm) == 16);

// nvmlEventData_t; the first version of the wait leaves the instances untouched.
struct EventData {
    Device device;
    std::uint64_t type;
    std::uint64_t data;
    std::uint32_t gpu_instance;
    std::uint32_t compute_instance;
};
static_assert(sizeof(EventData) == 32 && offsetof(EventData, gpu_instance) == 24);

inline constexpr std::uint32_t kNotMig = 0xFFFFFFFFU;
inline constexpr std::uint64_t kEventXid = 0x8;
inline constexpr std::uint64_t kEventMigConfigChange = 0x100;
inline constexpr std::uint64_t kEventGpuUnavailable = 0x4000;
inline constexpr std::uint64_t kEventGpuRecoveryAction = 0x8000;

// nvmlFieldValue_t
struct FieldValue {
    std::uint32_t field;
    std::uint32_t scope;
    std::int64_t timestamp;
    std::int64_t latency_us;
    std::uint32_t value_type;
    Code result;
    union {
        double d;
        std::uint32_t u32;
        std::uint64_t u64;
        std::int64_t i64;
    } value;
};
static_assert(sizeof(FieldValue) == 40 && offsetof(FieldValue, value) == 32);
inline constexpr std::uint32_t kFieldRecoveryAction = 230;
inline constexpr std::uint32_t kValueUnsignedInt = 1;  // nvmlValueType_t
inline constexpr std::uint32_t kValueUnsignedLong = 2;
inline constexpr std::uint32_t kValueUnsignedLongLong = 3;

// nvmlGpuFabricInfo_t
struct FabricInfo {
    unsigned char cluster_uuid[16];
    Code status;
    std::uint32_t clique;
    std::uint8_t state;
};
static_assert(sizeof(FabricInfo) == 28 && offsetof(FabricInfo, state) == 24);
inline constexpr std::uint8_t kFabricNotSupported = 0;
inline constexpr std::uint8_t kFabricNotStarted = 1;
inline constexpr std::uint8_t kFabricInProgress = 2;
inline constexpr std::uint8_t kFabricCompleted = 3;

// nvmlGpuTopologyLevel_t: what traffic between two GPUs passes at the most
inline constexpr std::uint32_t kTopologyBoard = 0;
inline constexpr std::uint32_t kTopologySwitch = 10;
inline constexpr std::uint32_t kTopologySwitches = 20;
inline constexpr std::uint32_t kTopologyHostBridge = 30;
inline constexpr std::uint32_t kTopologyNumaNode = 40;
inline constexpr std::uint32_t kTopologySystem = 50;

// nvmlIntNvLinkDeviceType_t
inline constexpr std::uint32_t kRemoteGpu = 0;
inline constexpr std::uint32_t kRemoteSwitch = 2;
inline constexpr std::uint32_t kRemoteUnknown = 255;

inline constexpr std::uint32_t kMigEnabled = 1;
inline constexpr std::uint32_t kEccUncorrected = 1;  // nvmlMemoryErrorType_t
inline constexpr std::uint32_t kEccVolatile = 0;     // nvmlEccCounterType_t

}  // namespace egpu::nvml
