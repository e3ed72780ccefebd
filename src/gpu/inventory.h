// What the driver says this node has: one CardInfo per physical GPU, or per MIG instance where MIG
// is on.
//
// Fail-soft per card: a GPU that is lost does not take the others down. A card that was known
// before keeps its UUID and is listed unhealthy (`seen` false) until the driver enumerates it
// again. Calls NVML (which may block for seconds on a sick GPU): only the monitor's thread calls
// enumerate(). Units: MiB.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/card.h"

namespace egpu::gpu {

class Nvml;
struct NvmlDevice;

struct CardInfo {
    core::Card card;     // index: the NVML index; a MIG instance has mig_index(parent, slot)
    std::string reason;  // why the card is unhealthy, fit for a pod's event; "" when healthy

    std::string index_text;  // what NVIDIA_VISIBLE_DEVICES takes: "0", for a MIG instance "0:1"
    int minor = -1;          // N of /dev/nvidiaN (MIG: the parent's); -1 unknown
    std::string pci_bus_id;  // as in sysfs: "0000:3b:00.0" (MIG: the parent's); "" unknown
    std::string brand;       // "Tesla", "GeForce", …; "" unknown
    std::string compute_capability;  // "7.5"; "" unknown
    std::vector<std::string>
        device_nodes;  // this card's own nodes: /dev/nvidia0, for MIG also /dev/nvidia-caps/…

    std::string parent_uuid;  // MIG: UUID of the physical GPU; "" for a physical GPU
    int gpu_instance = -1;    // MIG: GPU instance and compute instance id
    int compute_instance = -1;

    bool seen = true;  // enumerated in this round; false: remembered from an earlier one

    bool operator==(const CardInfo&) const = default;
};

// The whole node at one moment; cards sorted by index. Compared as a whole to find changes.
struct Inventory {
    std::vector<CardInfo> cards;
    std::string driver_version;  // "" when the driver could not be asked
    std::string error;  // why nothing can be said about the cards: driver not loaded, no GPU, …
    std::vector<std::string> warnings;  // GPUs that could not be listed because their UUID was
                                        // never known, MIG without instances

    bool operator==(const Inventory&) const = default;
};

// The node-wide index of MIG instance `slot` on GPU `parent`: 100 * (parent + 1) + slot, so GPU 0
// has 100, 101, … Stable while other GPUs and instances come and go, and apart from the indexes of
// physical GPUs.
constexpr int mig_index(int parent, int slot) {
    return 100 * (parent + 1) + slot;
}

// What one round of questions found out about one card; input of the health state machine.
struct Probe {
    std::string uuid;
    bool ok = true;
    bool certain = false;  // not ok and no doubt about it (lost, fabric down): acts at once,
                           // without a second look
    std::string reason;    // why not ok
    std::optional<unsigned>
        recovery_action;  // NVML field 230; absent when the driver does not know it
    std::optional<std::uint64_t> uncorrected_ecc;  // volatile total; absent when not supported
};

struct PhysicalGpu {
    NvmlDevice* handle = nullptr;  // valid until Nvml::close()
    std::string uuid;

    bool operator==(const PhysicalGpu&) const = default;
};

struct Enumeration {
    std::vector<CardInfo> cards;    // health as of this round only; sorted by index
    std::vector<Probe> probes;      // one per card of `cards`
    std::vector<PhysicalGpu> gpus;  // those that answered, for event registration
    std::string driver_version;
    std::vector<std::string> warnings;
};

struct EnumerateOptions {
    std::string sysfs_root = "/sys";  // NUMA nodes
    std::string proc_root = "/proc";  // MIG capability minors
};

// kUnavailable when the driver as a whole does not answer (unloaded, replaced); the caller re-opens
// NVML then. `known`: the cards of earlier rounds, in whose absence they are reported as lost. A
// MIG instance or a GPU whose MIG mode was switched is forgotten when its physical GPU answers
// without it.
Result<Enumeration> enumerate(
    const Nvml& nvml, const EnumerateOptions& options, std::span<const CardInfo> known
);

}  // namespace egpu::gpu
