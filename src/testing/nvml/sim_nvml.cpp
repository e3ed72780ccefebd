// libnvidia-ml.so.1, simulated: NVML's C functions over the state of sim_library.h. Only these are
// exported.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "testing/nvml/sim_library.h"

#define EG_NVML extern "C" __attribute__((visibility("default"))) Code
// NOLINTBEGIN(readability-identifier-naming): the names are NVML's.

namespace {

using namespace egpu::testing;
using egpu::nvml::Code;
using egpu::nvml::Device;
using egpu::nvml::EventSet;

constexpr std::uint64_t kSupportedEvents = 0x1 | 0x2 | egpu::nvml::kEventXid |
                                           egpu::nvml::kEventMigConfigChange |
                                           egpu::nvml::kEventGpuRecoveryAction;

Code copy_text(const std::string& text, char* out, unsigned size) {
    if (out == nullptr) return Code::kInvalidArgument;
    if (size <= text.size()) return Code::kInsufficientSize;
    std::memcpy(out, text.c_str(), text.size() + 1);
    return Code::kSuccess;
}

template <class T>
Code put(Code code, T* out, T value) {
    if (code != Code::kSuccess) return code;
    if (out == nullptr) return Code::kInvalidArgument;
    *out = value;
    return Code::kSuccess;
}

Code handle_by_index(const char* symbol, unsigned index, Device* out) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(symbol, node); code != Code::kSuccess) return code;
    const int position = position_of(*node, index);
    if (position < 0) return Code::kInvalidArgument;
    const SimGpu& gpu = node->gpus[static_cast<std::size_t>(position)];
    if (gpu.lost) return Code::kGpuIsLost;
    if (gpu.fallen) return Code::kUnknown;
    return put(Code::kSuccess, out, gpu_handle(position));
}

Code driver_text(const char* symbol, char* out, unsigned size) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(symbol, node); code != Code::kSuccess) return code;
    return copy_text(node->driver_version, out, size);
}

Code count(const char* symbol, unsigned* out) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(symbol, node); code != Code::kSuccess) return code;
    return put(Code::kSuccess, out, enumerated(*node));
}

Code pci_info(const char* symbol, Device device, egpu::nvml::PciInfo* out) {
    Target t;
    if (const Code code = enter(symbol, device, t); code != Code::kSuccess) return code;
    if (out == nullptr || t.instance != nullptr) return Code::kInvalidArgument;
    *out = {};
    out->bus = static_cast<std::uint32_t>(t.gpu->pci_bus);
    std::snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "0000:%02X:00.0", out->bus);
    std::snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    return Code::kSuccess;
}

// What NVLink number `link` of a GPU leads to: another GPU's position, or -1 for a switch.
struct LinkEnd {
    bool active = false;
    int gpu = -1;
};

Code link_end(const char* symbol, Device device, unsigned link, LinkEnd& out) {
    Target t;
    if (const Code code = enter(symbol, device, t); code != Code::kSuccess) return code;
    const SimNode& node = *t.node;
    int total = nvlinks_to_switches(node);
    bool found = static_cast<int>(link) < total;
    for (int other = 0; other < static_cast<int>(node.gpus.size()); ++other) {
        total += nvlinks_between(node, t.gpu_position, other);
        if (found || static_cast<int>(link) >= total) continue;
        out.gpu = other;
        found = true;
    }
    if (total == 0) return Code::kNotSupported;
    if (!found) return Code::kInvalidArgument;
    const auto up = [&](int gpu) {
        const SimGpu& end = node.gpus[static_cast<std::size_t>(gpu)];
        return !end.nvlink_down && !end.lost && !end.fallen && !end.removed;
    };
    out.active = up(t.gpu_position) && (out.gpu < 0 || up(out.gpu));
    return Code::kSuccess;
}

Code link_pci(const char* symbol, Device device, unsigned link, egpu::nvml::PciInfo* out) {
    LinkEnd end;
    if (const Code code = link_end(symbol, device, link, end); code != Code::kSuccess) return code;
    if (out == nullptr) return Code::kInvalidArgument;
    const auto node = current_node();
    if (!node) return Code::kUnknown;
    *out = {};
    out->bus = static_cast<std::uint32_t>(
        end.gpu < 0 ? kSwitchBus : node->gpus[static_cast<std::size_t>(end.gpu)].pci_bus
    );
    return Code::kSuccess;
}

Code event_wait(const char* symbol, EventSet set, egpu::nvml::EventData* data, unsigned ms) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(symbol, node); code != Code::kSuccess) return code;
    return event_set_wait(set, data, ms);
}

}  // namespace

EG_NVML nvmlInit_v2() {
    return library_init();
}
EG_NVML nvmlInit() {
    return library_init();
}
EG_NVML nvmlShutdown() {
    return library_shutdown();
}

extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(Code code) {
    switch (code) {
        case Code::kSuccess:
            return "The operation was successful";
        case Code::kDriverNotLoaded:
            return "Driver Not Loaded";
        case Code::kGpuIsLost:
            return "GPU is lost";
        default:
            return "Simulated NVML error";
    }
}

EG_NVML nvmlSystemGetDriverVersion(char* version, unsigned length) {
    return driver_text(__func__, version, length);
}
EG_NVML nvmlDeviceGetCount_v2(unsigned* out) {
    return count(__func__, out);
}
EG_NVML nvmlDeviceGetCount(unsigned* out) {
    return count(__func__, out);
}
EG_NVML nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* out) {
    return handle_by_index(__func__, index, out);
}
EG_NVML nvmlDeviceGetHandleByIndex(unsigned index, Device* out) {
    return handle_by_index(__func__, index, out);
}

EG_NVML nvmlDeviceGetHandleByUUID(const char* uuid, Device* out) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(__func__, node); code != Code::kSuccess) return code;
    if (uuid == nullptr) return Code::kInvalidArgument;
    for (unsigned index = 0; index < enumerated(*node); ++index) {
        const int position = position_of(*node, index);
        const SimGpu& gpu = node->gpus[static_cast<std::size_t>(position)];
        if (gpu.uuid == uuid) return handle_by_index(__func__, index, out);
        for (std::size_t slot = 0; gpu.mig && slot < gpu.instances.size(); ++slot) {
            if (gpu.instances[slot].uuid != uuid) continue;
            return put(Code::kSuccess, out, instance_handle(position, static_cast<int>(slot)));
        }
    }
    return Code::kNotFound;
}

EG_NVML nvmlDeviceGetUUID(Device device, char* uuid, unsigned length) {
    Target t;
    if (const Code code = enter(__func__, device, t, false); code != Code::kSuccess) return code;
    return copy_text(t.instance != nullptr ? t.instance->uuid : t.gpu->uuid, uuid, length);
}

EG_NVML nvmlDeviceGetName(Device device, char* name, unsigned length) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    std::string text = t.node->model;
    if (t.instance != nullptr) text += " MIG " + t.instance->profile;
    return copy_text(text, name, length);
}

EG_NVML nvmlDeviceGetIndex(Device device, unsigned* index) {
    Target t;
    const Code code = enter(__func__, device, t);
    if (code != Code::kSuccess) return code;
    const int value =
        t.instance != nullptr ? handle_slot(device) : index_of(*t.node, t.gpu_position);
    return put(code, index, static_cast<unsigned>(value));
}

EG_NVML nvmlDeviceGetMinorNumber(Device device, unsigned* minor) {
    Target t;
    const Code code = enter(__func__, device, t);
    return put(code, minor, t.gpu == nullptr ? 0U : static_cast<unsigned>(t.gpu->minor));
}

EG_NVML nvmlDeviceGetPciInfo_v3(Device device, egpu::nvml::PciInfo* out) {
    return pci_info(__func__, device, out);
}
EG_NVML nvmlDeviceGetPciInfo_v2(Device device, egpu::nvml::PciInfo* out) {
    return pci_info(__func__, device, out);
}

EG_NVML nvmlDeviceGetCudaComputeCapability(Device device, int* major, int* minor) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    put(Code::kSuccess, major, t.node->compute_major);
    return put(Code::kSuccess, minor, t.node->compute_minor);
}

EG_NVML nvmlDeviceGetBrand(Device device, unsigned* brand) {
    Target t;
    const Code code = enter(__func__, device, t);
    return put(code, brand, t.node ? t.node->brand : 0U);
}

EG_NVML nvmlDeviceGetMigMode(Device device, unsigned* current, unsigned* pending) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (!t.node->mig_capable) return Code::kNotSupported;
    put(Code::kSuccess, pending, t.gpu->mig ? 1U : 0U);
    return put(Code::kSuccess, current, t.gpu->mig ? 1U : 0U);
}

EG_NVML nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned* out) {
    Target t;
    const Code code = enter(__func__, device, t);
    return put(code, out, t.node && t.node->mig_capable ? 7U : 0U);
}

EG_NVML nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned slot, Device* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (!t.gpu->mig || slot >= t.gpu->instances.size()) return Code::kNotFound;
    return put(Code::kSuccess, out, instance_handle(t.gpu_position, static_cast<int>(slot)));
}

EG_NVML nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device device, Device* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.instance == nullptr) return Code::kInvalidArgument;
    return put(Code::kSuccess, out, gpu_handle(t.gpu_position));
}

EG_NVML nvmlDeviceGetGpuInstanceId(Device device, unsigned* id) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.instance == nullptr) return Code::kNotSupported;
    return put(Code::kSuccess, id, static_cast<unsigned>(t.instance->gpu_instance));
}

EG_NVML nvmlDeviceGetComputeInstanceId(Device device, unsigned* id) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.instance == nullptr) return Code::kNotSupported;
    return put(Code::kSuccess, id, static_cast<unsigned>(t.instance->compute_instance));
}

EG_NVML nvmlDeviceGetTotalEccErrors(
    Device device, unsigned type, unsigned /*counter*/, unsigned long long* out
) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (!t.node->ecc) return Code::kNotSupported;
    const bool uncorrected = type == egpu::nvml::kEccUncorrected;
    return put(
        Code::kSuccess,
        out,
        uncorrected ? static_cast<unsigned long long>(t.gpu->uncorrected_ecc) : 0ULL
    );
}

EG_NVML nvmlDeviceGetRemappedRows(
    Device device, unsigned* corrected, unsigned* uncorrected, unsigned* pending, unsigned* failed
) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.node->compute_major < 8) return Code::kNotSupported;
    put(Code::kSuccess, corrected, 0U);
    put(Code::kSuccess, uncorrected, t.gpu->remap_failed ? 1U : 0U);
    put(Code::kSuccess, pending, 0U);
    return put(Code::kSuccess, failed, t.gpu->remap_failed ? 1U : 0U);
}

EG_NVML nvmlDeviceGetFieldValues(Device device, int n, egpu::nvml::FieldValue* values) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (n <= 0 || values == nullptr) return Code::kInvalidArgument;
    // Drivers before r550 know the function, not this field.
    const bool known = t.node->driver_version.substr(0, 3) >= "550";
    for (int i = 0; i < n; ++i) {
        auto& v = values[i];
        v.result = Code::kNotSupported;
        if (v.field != egpu::nvml::kFieldRecoveryAction || !known) continue;
        v.result = Code::kSuccess;
        v.value_type = egpu::nvml::kValueUnsignedInt;
        v.value.u64 = 0;
        v.value.u32 = t.gpu->recovery_action;
    }
    return Code::kSuccess;
}

EG_NVML nvmlDeviceGetGpuFabricInfo(Device device, egpu::nvml::FabricInfo* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.gpu->fabric_state == 0) return Code::kNotSupported;
    egpu::nvml::FabricInfo info{};
    info.state = static_cast<std::uint8_t>(t.gpu->fabric_state);
    return put(Code::kSuccess, out, info);
}

EG_NVML nvmlDeviceGetTopologyCommonAncestor(Device a, Device b, std::uint32_t* level) {
    Target first;
    Target second;
    if (const Code code = enter(__func__, a, first); code != Code::kSuccess) return code;
    if (const Code code = enter(__func__, b, second); code != Code::kSuccess) return code;
    if (first.instance != nullptr || second.instance != nullptr) return Code::kInvalidArgument;
    return put(
        Code::kSuccess, level, topology_level(*first.node, first.gpu_position, second.gpu_position)
    );
}

EG_NVML nvmlDeviceGetNvLinkState(Device device, unsigned link, unsigned* active) {
    LinkEnd end;
    const Code code = link_end(__func__, device, link, end);
    return put(code, active, end.active ? 1U : 0U);
}

EG_NVML nvmlDeviceGetNvLinkRemoteDeviceType(Device device, unsigned link, std::uint32_t* type) {
    LinkEnd end;
    const Code code = link_end(__func__, device, link, end);
    return put(code, type, end.gpu < 0 ? egpu::nvml::kRemoteSwitch : egpu::nvml::kRemoteGpu);
}

EG_NVML nvmlDeviceGetNvLinkRemotePciInfo_v2(
    Device device, unsigned link, egpu::nvml::PciInfo* out
) {
    return link_pci(__func__, device, link, out);
}
EG_NVML nvmlDeviceGetNvLinkRemotePciInfo(Device device, unsigned link, egpu::nvml::PciInfo* out) {
    return link_pci(__func__, device, link, out);
}

EG_NVML nvmlEventSetCreate(EventSet* out) {
    std::shared_ptr<const SimNode> node;
    if (const Code code = enter(__func__, node); code != Code::kSuccess) return code;
    return event_set_create(out);
}
EG_NVML nvmlEventSetFree(EventSet set) {
    return event_set_free(set);
}

EG_NVML nvmlDeviceGetSupportedEventTypes(Device device, unsigned long long* out) {
    Target t;
    const Code code = enter(__func__, device, t);
    return put(code, out, static_cast<unsigned long long>(kSupportedEvents));
}

EG_NVML nvmlDeviceRegisterEvents(Device device, unsigned long long types, EventSet set) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if ((types & ~kSupportedEvents) != 0) return Code::kNotSupported;
    return event_set_register(set, t.gpu_position, types);
}

EG_NVML nvmlEventSetWait_v2(EventSet set, egpu::nvml::EventData* data, unsigned timeout_ms) {
    return event_wait(__func__, set, data, timeout_ms);
}
EG_NVML nvmlEventSetWait(EventSet set, egpu::nvml::EventData* data, unsigned timeout_ms) {
    return event_wait(__func__, set, data, timeout_ms);
}
// NOLINTEND(readability-identifier-naming)
