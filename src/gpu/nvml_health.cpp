// What tells of a sick card: counters, states and events.
#include "gpu/nvml.h"
#include "gpu/nvml_functions.h"

namespace egpu::gpu {
namespace {

using nvml::Code;
using nvml::Device;

}  // namespace

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
