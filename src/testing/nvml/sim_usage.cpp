// What processes use of a card, as NVML tells it: memory, processes, utilization.
#include <algorithm>

#include "guard/nvml_abi.h"
#include "testing/nvml/sim_library.h"

#define EG_NVML extern "C" __attribute__((visibility("default"))) Code
// NOLINTBEGIN(readability-identifier-naming): the names are NVML's.

namespace {

using namespace egpu::testing;
using egpu::nvml::Code;
using egpu::nvml::Device;
namespace nvml = egpu::nvml;

constexpr std::uint64_t kMib = 1 << 20;

// A card with MIG on is all its instances.
std::vector<unsigned> units_of(const Target& target, Device device) {
    if (target.instance != nullptr) return {unit_of(target.gpu_position, handle_slot(device))};
    std::vector<unsigned> units{unit_of(target.gpu_position, -1)};
    for (std::size_t slot = 0; target.gpu->mig && slot < target.gpu->instances.size(); ++slot) {
        units.push_back(unit_of(target.gpu_position, static_cast<int>(slot)));
    }
    return units;
}

struct MemoryUse {
    std::uint64_t total;
    std::uint64_t used;
};

MemoryUse memory_of(const Target& target, Device device) {
    const auto mib =
        target.instance != nullptr ? target.instance->memory_mib : target.node->memory_mib;
    MemoryUse use{mib * kMib, kDriverReserve};
    if (SharedNode* shared = shared_node()) {
        for (const unsigned unit : units_of(target, device)) {
            use.used += shared->used(unit) - kDriverReserve;
        }
    }
    use.used = std::min(use.used, use.total);
    return use;
}

std::vector<ProcessUse> processes_of(const Target& target, Device device) {
    std::vector<ProcessUse> all;
    if (SharedNode* shared = shared_node()) {
        for (const unsigned unit : units_of(target, device)) {
            // Those of another PID namespace are not seen from here.
            for (const ProcessUse& use : shared->processes(unit)) {
                if (use.pid != 0) all.push_back(use);
            }
        }
    }
    return all;
}

void set_instance(nvml::nvmlProcessInfo_v1_t&) {}
void set_instance(nvml::nvmlProcessInfo_v2_t& info) {
    info.gpuInstanceId = info.computeInstanceId = nvml::kNotMig;
}

template <class Info>
Code running(const char* symbol, Device device, unsigned* count, Info* out, bool compute) {
    Target t;
    if (const Code code = enter(symbol, device, t); code != Code::kSuccess) return code;
    if (count == nullptr) return Code::kInvalidArgument;
    auto all = compute ? processes_of(t, device) : std::vector<ProcessUse>{};
    if (t.node->lists == "twice") all.insert(all.end(), all.begin(), all.end());
    if (t.node->lists == "beyond") {
        for (ProcessUse& use : all) use.bytes += std::uint64_t{1} << 50;
    }
    const unsigned room = *count;
    *count = static_cast<unsigned>(all.size());
    if (all.empty()) return Code::kSuccess;
    if (room < all.size()) return Code::kInsufficientSize;
    if (out == nullptr) return Code::kInvalidArgument;
    for (std::size_t i = 0; i < all.size(); ++i) {
        out[i] = {};
        out[i].pid = all[i].pid;
        out[i].usedGpuMemory = all[i].bytes;
        set_instance(out[i]);
    }
    return Code::kSuccess;
}

}  // namespace

EG_NVML nvmlDeviceGetMemoryInfo(Device device, nvml::Memory* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (out == nullptr) return Code::kInvalidArgument;
    const MemoryUse use = memory_of(t, device);
    *out = {use.total, use.total - use.used, use.used};
    return Code::kSuccess;
}

EG_NVML nvmlDeviceGetMemoryInfo_v2(Device device, nvml::nvmlMemory_v2_t* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (out == nullptr) return Code::kInvalidArgument;
    if (out->version != nvml::NVML_MEMORY_V2) return Code{25};  // argument version mismatch
    // What the driver keeps is told apart from what processes use.
    const MemoryUse use = memory_of(t, device);
    out->total = use.total;
    out->reserved = kDriverReserve;
    out->used = use.used - kDriverReserve;
    out->free = use.total - use.used;
    return Code::kSuccess;
}

#define PROCESSES(name, info, compute)                              \
    EG_NVML name(Device device, unsigned* count, nvml::info* out) { \
        return running(__func__, device, count, out, compute);      \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t, true)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, true)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_v2_t, true)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t, false)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t, false)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_v2_t, false)

EG_NVML nvmlDeviceGetUtilizationRates(Device device, nvml::Utilization* out) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.gpu->mig) return Code::kNotSupported;
    if (out == nullptr) return Code::kInvalidArgument;
    SharedNode* shared = shared_node();
    *out = {shared == nullptr ? 0 : shared->utilization(unit_of(t.gpu_position, -1)), 0};
    return Code::kSuccess;
}

EG_NVML nvmlDeviceGetProcessUtilization(
    Device device,
    nvml::nvmlProcessUtilizationSample_t* out,
    unsigned* count,
    unsigned long long after
) {
    Target t;
    if (const Code code = enter(__func__, device, t); code != Code::kSuccess) return code;
    if (t.gpu->mig) return Code::kNotSupported;
    if (count == nullptr) return Code::kInvalidArgument;
    SharedNode* shared = shared_node();
    std::vector<UtilizationSample> samples;
    if (shared != nullptr) samples = shared->samples(unit_of(t.gpu_position, -1), after);
    std::erase_if(samples, [](const UtilizationSample& sample) { return sample.pid == 0; });
    const unsigned room = *count;
    *count = static_cast<unsigned>(samples.size());
    if (samples.empty()) return Code::kNotFound;
    if (out == nullptr || room < samples.size()) return Code::kInsufficientSize;
    for (std::size_t i = 0; i < samples.size(); ++i) {
        out[i] = {};
        out[i].pid = samples[i].pid;
        out[i].timeStamp = samples[i].time_us;
        out[i].smUtil = samples[i].sm_percent;
    }
    return Code::kSuccess;
}
// NOLINTEND(readability-identifier-naming)
