#include "gpu/card_links.h"

#include <algorithm>

#include "core/topology.h"
#include "gpu/nvml.h"

namespace egpu::gpu {
namespace {

constexpr unsigned kMostLinks = 36;  // NVML_NVLINK_MAX_LINKS

core::PciePath path_of_level(std::uint32_t level) {
    switch (level) {
        case nvml::kTopologyBoard:
            return core::PciePath::kBoard;
        case nvml::kTopologySwitch:
            return core::PciePath::kSwitch;
        case nvml::kTopologySwitches:
            return core::PciePath::kSwitches;
        case nvml::kTopologyHostBridge:
            return core::PciePath::kHostBridge;
        case nvml::kTopologyNumaNode:
            return core::PciePath::kNumaNode;
        case nvml::kTopologySystem:
            return core::PciePath::kSystem;
        default:
            return core::PciePath::kUnknown;
    }
}

// Where a GPU's active NVLinks end.
struct Ends {
    std::vector<int> at;  // how many at each GPU of the list
    int switches = 0;
};

Ends ends_of(
    const Nvml& nvml,
    NvmlDevice* device,
    std::span<const LinkedGpu> gpus,
    std::span<const CardInfo> known
) {
    Ends ends;
    ends.at.resize(gpus.size());
    for (unsigned link = 0; link < kMostLinks; ++link) {
        const auto active = nvml.nvlink_active(device, link);
        if (!active.ok()) break;
        if (!active.value) continue;
        const auto type = nvml.nvlink_remote_type(device, link);
        if (type.ok() && type.value == nvml::kRemoteSwitch) {
            ++ends.switches;
            continue;
        }
        const auto pci = nvml.nvlink_remote_pci(device, link);
        if (!pci.ok()) continue;
        bool gpu = false;
        for (std::size_t i = 0; i < gpus.size(); ++i) {
            if (gpus[i].card->pci_bus_id != pci.value) continue;
            ++ends.at[i];
            gpu = true;
        }
        const bool silent = std::any_of(known.begin(), known.end(), [&](const CardInfo& info) {
            return info.pci_bus_id == pci.value;
        });
        if (!gpu && !silent && !type.ok()) ++ends.switches;
    }
    return ends;
}

}  // namespace

void read_links(
    const Nvml& nvml, std::span<const LinkedGpu> gpus, std::span<const CardInfo> known
) {
    std::vector<Ends> ends;
    ends.reserve(gpus.size());
    for (const LinkedGpu& gpu : gpus) {
        ends.push_back(ends_of(nvml, gpu.handle, gpus, known));
    }
    for (std::size_t a = 0; a < gpus.size(); ++a) {
        for (std::size_t b = a + 1; b < gpus.size(); ++b) {
            core::PciePath path = core::PciePath::kUnknown;
            const auto level = nvml.common_ancestor(gpus[a].handle, gpus[b].handle);
            if (level.ok()) path = path_of_level(level.value);
            // One end may have lost the link before the other knows: the fewer count.
            const int direct = std::min(ends[a].at[b], ends[b].at[a]);
            const int switched = std::min(ends[a].switches, ends[b].switches);
            core::set_link(
                gpus[a].card->card, gpus[b].card->card, core::make_link(path, direct + switched)
            );
        }
    }
}

}  // namespace egpu::gpu
