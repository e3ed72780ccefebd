#include "gpu/nvml.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <dlfcn.h>

namespace egpu::gpu {
namespace {

using nvml::Code;
using nvml::Device;

enum Function : int {
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
constexpr const char* kNames[kFunctionCount][3] = {
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

struct CodeName {
    Code code;
    const char* name;
};
constexpr CodeName kCodes[] = {
    {Code::kSuccess, "SUCCESS"},
    {Code::kUninitialized, "UNINITIALIZED"},
    {Code::kInvalidArgument, "INVALID_ARGUMENT"},
    {Code::kNotSupported, "NOT_SUPPORTED"},
    {Code::kNoPermission, "NO_PERMISSION"},
    {Code::kNotFound, "NOT_FOUND"},
    {Code::kInsufficientSize, "INSUFFICIENT_SIZE"},
    {Code::kDriverNotLoaded, "DRIVER_NOT_LOADED"},
    {Code::kTimeout, "TIMEOUT"},
    {Code::kLibraryNotFound, "LIBRARY_NOT_FOUND"},
    {Code::kFunctionNotFound, "FUNCTION_NOT_FOUND"},
    {Code::kGpuIsLost, "GPU_IS_LOST"},
    {Code::kResetRequired, "RESET_REQUIRED"},
    {Code::kOperatingSystem, "OPERATING_SYSTEM"},
    {Code::kVersionMismatch, "LIB_RM_VERSION_MISMATCH"},
    {Code::kUnknown, "UNKNOWN"},
};

const char* fix_for(Code init) {
    switch (init) {
        case Code::kDriverNotLoaded:
            return "the kernel module is not loaded: run `modprobe nvidia`, then `nvidia-smi`";
        case Code::kVersionMismatch:
            return "the driver was upgraded without reloading the kernel module: reload it or "
                   "reboot";
        case Code::kNoPermission:
            return "no access to /dev/nvidiactl: run as root with the host's /dev";
        case Code::kGpuIsLost:
            return "a GPU fell off the bus: see `dmesg | grep -i xid`, then reboot";
        default:
            return "see `nvidia-smi` and `dmesg | grep -i nvrm` on the node";
    }
}

// nvmlBrandType_t by value
constexpr const char* kBrands[] = {
    "",
    "Quadro",
    "Tesla",
    "NVS",
    "GRID",
    "GeForce",
    "Titan",
    "vApps",
    "vPC",
    "vCS",
    "vWS",
    "CloudGaming",
    "QuadroRTX",
    "NvidiaRTX",
    "Nvidia",
    "GeForceRTX",
    "TitanRTX"};

// Lists grow between the call that asks for their size and the one that reads them.
constexpr int kListTries = 5;
constexpr unsigned kFirstRoom = 32;
constexpr unsigned kSpareRoom = 8;
constexpr unsigned kMostRoom = 1U << 16;

}  // namespace

std::string nvml_code_text(Code code) {
    for (const auto& known : kCodes) {
        if (known.code == code) {
            return std::string(known.name) + " (" + std::to_string(static_cast<int>(code)) + ")";
        }
    }
    return "NVML error " + std::to_string(static_cast<int>(code));
}

std::vector<std::string> library_candidates(std::string_view library, std::string_view root) {
    if (library.find('/') != std::string_view::npos) return {std::string(library)};
    std::vector<std::string> candidates;
    while (!root.empty() && root.back() == '/') root.remove_suffix(1);
    if (root.empty()) candidates.emplace_back(library);
    // Debian's own packages keep the library in nvidia/current; the link to it in the folder above
    // goes through /etc/alternatives, which leads astray below a driver root.
    for (const char* folder :
         {"/usr/lib64",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib/aarch64-linux-gnu",
          "/usr/lib/x86_64-linux-gnu/nvidia/current",
          "/usr/lib/aarch64-linux-gnu/nvidia/current",
          "/usr/lib",
          "/lib64",
          "/lib/x86_64-linux-gnu",
          "/lib/aarch64-linux-gnu",
          "/lib"}) {
        candidates.push_back(std::string(root) + folder + "/" + std::string(library));
    }
    return candidates;
}

namespace {

std::string pci_text(const nvml::PciInfo& info) {
    char text[32];
    std::snprintf(text, sizeof text, "%04x:%02x:%02x.0", info.domain, info.bus, info.device);
    return text;
}

}  // namespace

template <class... Args>
Code Nvml::call(int function, Args... args) const {
    for (void* symbol : symbols_[static_cast<std::size_t>(function)]) {
        if (symbol == nullptr) continue;
        const Code code = reinterpret_cast<Code (*)(Args...)>(symbol)(args...);
        if (code != Code::kFunctionNotFound) return code;
    }
    return Code::kFunctionNotFound;
}

Status Nvml::load(const std::string& path) {
    dlerror();
    void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = dlerror();
        return Error{ErrorCode::kNotFound, why == nullptr ? path + ": cannot be loaded" : why};
    }
    library_ = library;
    path_ = path;
    return {};
}

void Nvml::resolve() {
    static_assert(kFunctionCount <= kFunctions);
    for (std::size_t f = 0; f < kFunctionCount; ++f) {
        for (std::size_t v = 0; v < kVersions; ++v) {
            symbols_[f][v] = kNames[f][v] == nullptr ? nullptr : dlsym(library_, kNames[f][v]);
        }
    }
}

Status Nvml::open(std::string_view library, std::string_view driver_root) {
    close();
    init_code_ = Code::kLibraryNotFound;
    std::string why;
    for (const auto& candidate : library_candidates(library, driver_root)) {
        std::error_code ignored;
        const bool absolute = candidate.front() == '/';
        if (absolute && !std::filesystem::exists(candidate, ignored)) continue;
        const Status loaded = load(candidate);
        if (loaded) break;
        why += (why.empty() ? "" : "; ") + loaded.error().message;
    }
    if (library_ == nullptr) {
        return Error{
            ErrorCode::kNotFound,
            "NVML library " + std::string(library) + " not found below driver root " +
                std::string(driver_root) + " (NVML code LIBRARY_NOT_FOUND (12)" +
                (why.empty() ? "" : "; " + why) +
                "): install the NVIDIA driver, or set the driver root to where it is"};
    }
    resolve();
    const Code code = call(kInit);
    init_code_ = code;
    if (code != Code::kSuccess) {
        const std::string path = path_;
        close();
        return Error{
            ErrorCode::kUnavailable,
            "nvmlInit of " + path + ": " + nvml_code_text(code) + ": " + fix_for(code)};
    }
    initialised_ = true;
    // Branch 535 changed the struct of the third version, and back, under the same name.
    if (driver_version().value.starts_with("535.")) {
        for (const std::size_t list : {kComputeList, kGraphicsList, kMpsList}) {
            symbols_[list][0] = nullptr;
        }
    }
    return {};
}

void Nvml::close() {
    if (library_ == nullptr) return;
    if (initialised_) (void)call(kShutdown);
    initialised_ = false;
    symbols_ = {};
    dlclose(library_);
    library_ = nullptr;
    path_.clear();
}

Answer<std::string> Nvml::driver_version() const {
    char text[nvml::kVersionSize] = {};
    const Code code = call(kDriverVersion, +text, nvml::kVersionSize);
    text[sizeof text - 1] = 0;
    return {code, text};
}

Answer<int> Nvml::cuda_version() const {
    int version = 0;
    const Code code = call(kCudaVersion, &version);
    return {code, version};
}

Answer<unsigned> Nvml::device_count() const {
    unsigned count = 0;
    const Code code = call(kCount, &count);
    return {code, count};
}

Answer<Device> Nvml::device(unsigned index) const {
    Device device = nullptr;
    const Code code = call(kHandleByIndex, index, &device);
    return {code, device};
}

Answer<std::string> Nvml::uuid(Device device) const {
    char text[nvml::kUuidSize] = {};
    const Code code = call(kUuid, device, +text, nvml::kUuidSize);
    text[sizeof text - 1] = 0;
    return {code, text};
}

Answer<std::string> Nvml::name(Device device) const {
    char text[nvml::kNameSize] = {};
    const Code code = call(kName, device, +text, nvml::kNameSize);
    text[sizeof text - 1] = 0;
    return {code, text};
}

Answer<unsigned> Nvml::minor_number(Device device) const {
    unsigned minor = 0;
    const Code code = call(kMinor, device, &minor);
    return {code, minor};
}

Answer<std::string> Nvml::pci_bus_id(Device device) const {
    nvml::PciInfo info{};
    const Code code = call(kPci, device, &info);
    return {code, pci_text(info)};
}

Answer<nvml::Memory> Nvml::memory(Device device) const {
    nvml::Memory memory{};
    const Code code = call(kMemory, device, &memory);
    return {code, memory};
}

Answer<nvml::Utilization> Nvml::utilization(Device device) const {
    nvml::Utilization utilization{};
    const Code code = call(kUtilization, device, &utilization);
    return {code, utilization};
}

template <class Info>
Answer<std::vector<ProcessMemory>> Nvml::list_processes(int function, Device device) const {
    // Filled with no process: a driver that says success and writes nothing is not believed.
    std::vector<Info> room(kFirstRoom);
    for (int attempt = 0; attempt < kListTries; ++attempt) {
        auto count = static_cast<unsigned>(room.size());
        const Code code = call(function, device, &count, room.data());
        if (code == Code::kInsufficientSize) {
            const auto had = static_cast<unsigned>(room.size());
            room.assign(std::min(std::max(count, had) + kSpareRoom, kMostRoom), Info{});
            continue;
        }
        if (code == Code::kNotFound) return {Code::kSuccess, {}};
        if (code != Code::kSuccess) return {code, {}};
        room.resize(std::min<std::size_t>(count, room.size()));
        std::vector<ProcessMemory> found;
        for (const Info& info : room) {
            if (info.pid == 0) continue;
            found.push_back({info.pid, std::nullopt});
            if (info.used_bytes != nvml::kNoValue) found.back().bytes = info.used_bytes;
        }
        return {code, std::move(found)};
    }
    return {Code::kInsufficientSize, {}};
}

Answer<std::vector<ProcessMemory>> Nvml::processes(Device device, ProcessKind kind) const {
    const int function = kComputeList + static_cast<int>(kind);
    const int without_instances = kComputeListV1 + static_cast<int>(kind);
    auto answer = list_processes<nvml::ProcessInfoV2>(function, device);
    if (answer.code != Code::kFunctionNotFound) return answer;
    return list_processes<nvml::ProcessInfoV1>(without_instances, device);
}

Answer<std::vector<ProcessSample>> Nvml::process_utilization(Device device, std::uint64_t after_us)
    const {
    std::vector<nvml::ProcessUtilization> room;
    for (int attempt = 0; attempt < kListTries; ++attempt) {
        auto count = static_cast<unsigned>(room.size());
        const Code code = call(
            kProcessUtilization,
            device,
            room.empty() ? nullptr : room.data(),
            &count,
            static_cast<unsigned long long>(after_us)
        );
        if (code == Code::kNotFound || (code == Code::kSuccess && room.empty())) {
            return {Code::kSuccess, {}};
        }
        if (code == Code::kInsufficientSize) {
            const auto had = static_cast<unsigned>(room.size());
            room.assign(std::min(std::max(count, had) + kSpareRoom, kMostRoom), {});
            continue;
        }
        if (code != Code::kSuccess) return {code, {}};
        std::vector<ProcessSample> found;
        // Drivers leave entries of processes that did nothing zeroed, and some percents nonsense.
        for (std::size_t i = 0; i < std::min<std::size_t>(count, room.size()); ++i) {
            if (room[i].pid == 0 || room[i].time_us <= after_us) continue;
            found.push_back({room[i].pid, room[i].time_us, std::min(room[i].sm, 100U)});
        }
        return {code, std::move(found)};
    }
    return {Code::kInsufficientSize, {}};
}

Answer<std::string> Nvml::compute_capability(Device device) const {
    int major = 0;
    int minor = 0;
    const Code code = call(kCapability, device, &major, &minor);
    return {code, std::to_string(major) + "." + std::to_string(minor)};
}

Answer<std::string> Nvml::brand(Device device) const {
    unsigned brand = 0;
    const Code code = call(kBrand, device, &brand);
    return {code, brand < std::size(kBrands) ? kBrands[brand] : ""};
}

Answer<bool> Nvml::mig_enabled(Device device) const {
    unsigned current = 0;
    unsigned pending = 0;
    const Code code = call(kMigMode, device, &current, &pending);
    return {code, current == nvml::kMigEnabled};
}

Answer<unsigned> Nvml::mig_slots(Device device) const {
    unsigned slots = 0;
    const Code code = call(kMigSlots, device, &slots);
    return {code, slots};
}

Answer<Device> Nvml::mig_device(Device device, unsigned slot) const {
    Device mig = nullptr;
    const Code code = call(kMigHandle, device, slot, &mig);
    return {code, mig};
}

Answer<MigIds> Nvml::mig_ids(Device mig_device) const {
    MigIds ids;
    Code code = call(kGpuInstance, mig_device, &ids.gpu_instance);
    if (code == Code::kSuccess) code = call(kComputeInstance, mig_device, &ids.compute_instance);
    return {code, ids};
}

Answer<RemappedRows> Nvml::remapped_rows(Device device) const {
    unsigned corrected = 0;
    unsigned uncorrected = 0;
    unsigned pending = 0;
    unsigned failed = 0;
    const Code code = call(kRemappedRows, device, &corrected, &uncorrected, &pending, &failed);
    return {code, {pending != 0, failed != 0}};
}

Answer<std::uint64_t> Nvml::uncorrected_ecc(Device device) const {
    unsigned long long total = 0;
    const Code code = call(kEcc, device, nvml::kEccUncorrected, nvml::kEccVolatile, &total);
    return {code, total};
}

Answer<unsigned> Nvml::recovery_action(Device device) const {
    nvml::FieldValue value{};
    value.field = nvml::kFieldRecoveryAction;
    Code code = call(kFieldValues, device, 1, &value);
    if (code == Code::kSuccess) code = value.result;
    const bool wide = value.value_type == nvml::kValueUnsignedLong ||
                      value.value_type == nvml::kValueUnsignedLongLong;
    return {code, wide ? static_cast<unsigned>(value.value.u64) : value.value.u32};
}

Answer<bool> Nvml::persistence(Device device) const {
    unsigned state = 0;
    const Code code = call(kPersistence, device, &state);
    return {code, state != 0};
}

Answer<bool> Nvml::retired_pages_pending(Device device) const {
    unsigned state = 0;
    const Code code = call(kRetiredPages, device, &state);
    return {code, state != 0};
}

Answer<std::uint8_t> Nvml::fabric_state(Device device) const {
    nvml::FabricInfo info{};
    const Code code = call(kFabric, device, &info);
    return {code, info.state};
}

Answer<std::uint32_t> Nvml::common_ancestor(Device a, Device b) const {
    std::uint32_t level = 0;
    const Code code = call(kAncestor, a, b, &level);
    return {code, level};
}

Answer<bool> Nvml::nvlink_active(Device device, unsigned link) const {
    unsigned active = 0;
    const Code code = call(kLinkState, device, link, &active);
    return {code, active != 0};
}

Answer<std::uint32_t> Nvml::nvlink_remote_type(Device device, unsigned link) const {
    std::uint32_t type = nvml::kRemoteUnknown;
    const Code code = call(kLinkRemoteType, device, link, &type);
    return {code, type};
}

Answer<std::string> Nvml::nvlink_remote_pci(Device device, unsigned link) const {
    nvml::PciInfo info{};
    const Code code = call(kLinkRemotePci, device, link, &info);
    return {code, pci_text(info)};
}

Answer<nvml::EventSet> Nvml::create_event_set() const {
    nvml::EventSet set = nullptr;
    const Code code = call(kEventCreate, &set);
    return {code, set};
}

void Nvml::free_event_set(nvml::EventSet set) const {
    (void)call(kEventFree, set);
}

Code Nvml::register_events(Device device, std::uint64_t types, nvml::EventSet set) const {
    unsigned long long supported = 0;
    const Code code = call(kEventTypes, device, &supported);
    if (code != Code::kSuccess) return code;
    const auto wanted = static_cast<unsigned long long>(types) & supported;
    if (wanted == 0) return Code::kNotSupported;
    return call(kEventRegister, device, wanted, set);
}

Answer<nvml::EventData> Nvml::wait_event(nvml::EventSet set, unsigned timeout_ms) const {
    nvml::EventData data{};
    data.gpu_instance = nvml::kNotMig;
    data.compute_instance = nvml::kNotMig;
    const Code code = call(kEventWait, set, &data, timeout_ms);
    return {code, data};
}

}  // namespace egpu::gpu
