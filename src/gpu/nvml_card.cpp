// What a card or MIG instance is and how cards are connected.
#include <cstdio>
#include <iterator>

#include "gpu/nvml.h"
#include "gpu/nvml_functions.h"

namespace egpu::gpu {
namespace {

using nvml::Code;
using nvml::Device;

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

std::string pci_text(const nvml::PciInfo& info) {
    char text[32];
    std::snprintf(text, sizeof text, "%04x:%02x:%02x.0", info.domain, info.bus, info.device);
    return text;
}

}  // namespace

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

}  // namespace egpu::gpu
