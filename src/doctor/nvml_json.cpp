#include <charconv>

#include "doctor/nvml_probe.h"

namespace egpu::doctor {
namespace {

struct StateName {
    NvmlFacts::State state;
    std::string_view name;
};
constexpr StateName kStates[] = {
    {NvmlFacts::State::kAnswers, "answers"},
    {NvmlFacts::State::kNoLibrary, "no-library"},
    {NvmlFacts::State::kInitError, "init-error"},
    {NvmlFacts::State::kHangs, "hangs"},
    {NvmlFacts::State::kCrashed, "crashed"},
};

int number(const json::value& from, std::string_view key, int otherwise = 0) {
    return static_cast<int>(json::get_int(from, {key}).value_or(otherwise));
}

json::value gpu_to_json(const GpuFacts& gpu) {
    json::object out;
    out["code"] = static_cast<int>(gpu.code);
    out["uuid"] = gpu.uuid;
    out["name"] = gpu.name;
    out["minor"] = gpu.minor;
    out["pci"] = gpu.pci;
    out["uncorrectedEcc"] = static_cast<std::int64_t>(gpu.uncorrected_ecc);
    out["remapPending"] = gpu.remap_pending;
    out["remapFailed"] = gpu.remap_failed;
    out["retiredPending"] = gpu.retired_pending;
    out["recoveryAction"] = static_cast<int>(gpu.recovery_action);
    out["fabricState"] = gpu.fabric_state;
    if (gpu.persistence) out["persistence"] = *gpu.persistence;
    return out;
}

GpuFacts gpu_from_json(const json::value& from) {
    GpuFacts gpu;
    gpu.code = static_cast<nvml::Code>(number(from, "code"));
    gpu.uuid = json::get_string(from, {"uuid"});
    gpu.name = json::get_string(from, {"name"});
    gpu.minor = number(from, "minor", -1);
    gpu.pci = json::get_string(from, {"pci"});
    gpu.uncorrected_ecc =
        static_cast<std::uint64_t>(json::get_int(from, {"uncorrectedEcc"}).value_or(0));
    gpu.remap_pending = json::get_bool(from, {"remapPending"});
    gpu.remap_failed = json::get_bool(from, {"remapFailed"});
    gpu.retired_pending = json::get_bool(from, {"retiredPending"});
    gpu.recovery_action = static_cast<unsigned>(number(from, "recoveryAction"));
    gpu.fabric_state = number(from, "fabricState");
    if (json::find(from, {"persistence"}) != nullptr) {
        gpu.persistence = json::get_bool(from, {"persistence"});
    }
    return gpu;
}

}  // namespace

json::value nvml_to_json(const NvmlFacts& facts) {
    json::object out;
    for (const StateName& each : kStates) {
        if (each.state == facts.state) out["state"] = each.name;
    }
    out["code"] = static_cast<int>(facts.code);
    out["message"] = facts.message;
    out["library"] = facts.library;
    out["driver"] = facts.driver_version;
    out["cuda"] = facts.cuda_version;
    json::object gpus;
    for (const GpuFacts& gpu : facts.gpus) gpus[std::to_string(gpu.index)] = gpu_to_json(gpu);
    out["gpus"] = std::move(gpus);
    return out;
}

Result<NvmlFacts> nvml_from_json(const json::value& from) {
    NvmlFacts facts;
    const std::string_view word = json::get_string(from, {"state"});
    bool known = false;
    for (const StateName& each : kStates) {
        if (each.name != word) continue;
        facts.state = each.state;
        known = true;
    }
    if (!known) return Error{ErrorCode::kInvalid, "unknown state \"" + std::string(word) + "\""};
    facts.code = static_cast<nvml::Code>(number(from, "code"));
    facts.message = json::get_string(from, {"message"});
    facts.library = json::get_string(from, {"library"});
    facts.driver_version = json::get_string(from, {"driver"});
    facts.cuda_version = number(from, "cuda");
    if (const json::object* gpus = json::get_object(from, {"gpus"})) {
        for (const auto& [index, value] : *gpus) {
            GpuFacts gpu = gpu_from_json(value);
            const std::string_view text = index;
            std::from_chars(text.data(), text.data() + text.size(), gpu.index);
            facts.gpus.push_back(std::move(gpu));
        }
    }
    return facts;
}

}  // namespace egpu::doctor
