// How the GPUs of this node are joined: PCIe paths and NVLinks, as the driver tells.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "gpu/inventory.h"

namespace egpu::gpu {

// One GPU that answers, and where its row goes.
struct LinkedGpu {
    NvmlDevice* handle = nullptr;
    CardInfo* card = nullptr;  // not MIG
};

// Fills Card::links of the cards, which are empty. Costs a call for each pair and three for each
// NVLink; a question that the driver does not answer leaves those pairs unknown and is no fault.
// NVLinks that end at neither a GPU of this node (`known` names those that do not answer now) nor
// at something else than a switch are taken to join NVSwitches: drivers before 455 do not say where
// they end.
void read_links(const Nvml& nvml, std::span<const LinkedGpu> gpus, std::span<const CardInfo> known);

}  // namespace egpu::gpu
