// What each GPU says about itself, and the switches between them.
#include <algorithm>

#include "doctor/check.h"
#include "gpu/nvml.h"

namespace egpu::doctor {
namespace {

using nvml::Code;

constexpr int kFabricCompleted = 3;

std::string name_of(const GpuFacts& gpu) {
    std::string text = "GPU " + std::to_string(gpu.index);
    if (!gpu.pci.empty()) text += " (" + gpu.pci + ")";
    return text;
}

const char* recovery_text(unsigned action) {
    switch (action) {
        case 1:
            return "a reset of the GPU";
        case 2:
            return "a reboot of the node";
        case 3:
            return "draining the GPU and its peers";
        case 4:
            return "draining and a reset of the GPU";
        default:
            return "its IMEX domain's recovery";
    }
}

std::string reset_command(const GpuFacts& gpu) {
    return "with nothing on the GPU: nvidia-smi -r -i " +
           (gpu.uuid.empty() ? std::to_string(gpu.index) : gpu.uuid) + "\nor reboot";
}

void look_at(const GpuFacts& gpu, Findings& out) {
    const std::string looked = name_of(gpu);
    if (gpu.code == Code::kGpuIsLost) {
        Finding& finding = out.error("gpu-lost", looked, "NVML: " + gpu::nvml_code_text(gpu.code));
        finding.meaning = "the GPU fell off the bus; its pods see errors, the other GPUs go on";
        finding.fix =
            "dmesg | grep -i xid\nreboot; if it happens again check power, temperature and seating";
        return;
    }
    if (gpu.code == Code::kResetRequired) {
        Finding& finding =
            out.error("gpu-reset-required", looked, "NVML: " + gpu::nvml_code_text(gpu.code));
        finding.meaning = "the GPU does no work until it is reset";
        finding.fix = reset_command(gpu);
        return;
    }
    if (gpu.code != Code::kSuccess) {
        Finding& finding = out.error("gpu-fails", looked, "NVML: " + gpu::nvml_code_text(gpu.code));
        finding.meaning = "the GPU does not answer questions";
        finding.fix = "dmesg | grep -i nvrm";
        return;
    }
    if (gpu.remap_failed) {
        Finding& finding =
            out.error("gpu-row-remap-failed", looked, "a memory row could not be remapped");
        finding.meaning = "the GPU's memory has no spare rows left: it must be replaced";
        finding.fix = "nvidia-smi -q -d ROW_REMAPPER; have the GPU replaced";
        return;
    }
    if (gpu.recovery_action != 0) {
        Finding& finding = out.error(
            "gpu-recovery-action",
            looked,
            std::string("the driver asks for ") + recovery_text(gpu.recovery_action)
        );
        finding.meaning = "the GPU had an error it does not recover from by itself";
        finding.fix = gpu.recovery_action == 2 ? "reboot" : reset_command(gpu);
        return;
    }
    if (gpu.remap_pending || gpu.retired_pending) {
        Finding& finding = out.warning(
            "gpu-memory-repair-pending",
            looked,
            gpu.remap_pending ? "a row remap is pending" : "a page retirement is pending"
        );
        finding.meaning = "a bad piece of memory is taken out of use at the next reset";
        finding.fix = reset_command(gpu);
        return;
    }
    if (gpu.uncorrected_ecc != 0) {
        Finding& finding = out.warning(
            "gpu-ecc-errors",
            looked,
            std::to_string(gpu.uncorrected_ecc) +
                " uncorrected memory error(s) since the driver was loaded"
        );
        finding.meaning = "programs were ended by it; if it goes on the GPU is failing";
        finding.fix = "nvidia-smi -q -d ECC,PAGE_RETIREMENT\n" + reset_command(gpu);
    }
}

}  // namespace

void check_cards(const CheckContext& context, Findings& out) {
    const NvmlFacts& nvml = context.facts.nvml;
    if (nvml.gpus.empty()) return out.skip("NVML lists no GPU");
    for (const GpuFacts& gpu : nvml.gpus) look_at(gpu, out);
    if (!out.empty()) return;
    std::string names;
    for (const GpuFacts& gpu : nvml.gpus) {
        if (names.find(gpu.name) == std::string::npos)
            names += (names.empty() ? "" : ", ") + gpu.name;
    }
    out.ok("cards", "NVML, each GPU", std::to_string(nvml.gpus.size()) + " × " + names);
}

void check_fabric(const CheckContext& context, Findings& out) {
    const NodeModel& node = context.node;
    const auto& gpus = context.facts.nvml.gpus;
    const bool states = std::any_of(gpus.begin(), gpus.end(), [](const GpuFacts& gpu) {
        return gpu.fabric_state != 0;
    });
    if (node.nvswitches == 0 && !states) return out.skip("no NVSwitch");
    const Process* manager = find_process(context.facts, "nv-fabricmanager");
    const std::string looked = "nv-fabricmanager, nvmlDeviceGetGpuFabricInfo";
    if (manager == nullptr) {
        Finding& finding =
            out.error("fabric-manager-not-running", looked, "nv-fabricmanager does not run");
        finding.meaning =
            "GPUs behind NVSwitches refuse CUDA (error 802, system not yet initialized)";
        finding.fix = "apt-get install nvidia-fabricmanager-" +
                      node.loaded_version.substr(0, node.loaded_version.find('.')) +
                      "   (exactly version " + node.loaded_version +
                      ")\nsystemctl enable --now nvidia-fabricmanager";
        return;
    }
    for (const GpuFacts& gpu : gpus) {
        if (gpu.fabric_state == 0 || gpu.fabric_state == kFabricCompleted) continue;
        Finding& finding = out.error(
            "fabric-not-ready",
            looked,
            name_of(gpu) + ": registration with the fabric is not complete"
        );
        finding.meaning = "CUDA on this GPU fails with error 802";
        finding.fix = "journalctl -u nvidia-fabricmanager\nsystemctl restart nvidia-fabricmanager";
        return;
    }
    out.ok("fabric", looked, "fabric manager runs; every GPU is registered");
}

}  // namespace egpu::doctor
