// The simulated node: what the state file says. Shared by its writer (sim_state.h) and the
// simulated library, which must stay free of other dependencies.
//
// The file is text, one fact a line ("gpu 0 lost 1"), so that a person can edit it while a demo
// runs. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::testing {

struct SimInstance {
    std::string profile;  // "1g.5gb"
    std::string uuid;     // "MIG-…"
    int gpu_instance = 0;
    int compute_instance = 0;
    std::uint64_t memory_mib = 0;
    unsigned multiprocessors = 0;
};

struct SimGpu {
    std::string uuid;
    int minor = 0;
    int pci_bus = 0;
    int numa = 0;

    bool lost = false;
    bool fallen = false;
    bool removed = false;
    bool failing = false;
    bool remap_failed = false;
    bool mig = false;
    unsigned recovery_action = 0;
    unsigned fabric_state = 0;  // 0: no fabric manager that NVML tells of
    bool nvlink_down = false;
    unsigned slow_ms = 0;
    std::uint64_t uncorrected_ecc = 0;
    std::vector<SimInstance> instances;
};

struct SimEvent {
    std::uint64_t serial = 0;  // grows; also across writers
    int gpu = 0;               // position in SimNode::gpus
    std::uint64_t type = 0;
    std::uint64_t data = 0;
    std::uint32_t gpu_instance = 0;
    std::uint32_t compute_instance = 0;
};

struct SimNode {
    std::string profile;
    std::string node;
    std::string driver_version = "535.161.08";
    bool driver_loaded = true;
    int count = -1;
    unsigned slow_ms = 0;
    std::string visible_in;           // only GPUs with a node in this folder are seen; "": all
    std::vector<std::string> hidden;  // symbols that answer FUNCTION_NOT_FOUND
    std::string lists;                // wrong lists of processes: twice, beyond; "": right ones
    std::string cards;                // the file that shared_node.h maps; "": its default
    std::vector<std::string> cuda;    // lines for the simulated libcuda, testing/cuda/settings.h

    // Of all GPUs of the profile.
    std::string model;
    std::uint64_t memory_mib = 0;
    unsigned multiprocessors = 0;
    int compute_major = 0;
    int compute_minor = 0;
    unsigned brand = 0;
    bool mig_capable = false;
    bool ecc = true;
    int switch_links = 0;      // NVLinks of each GPU to NVSwitches
    bool cube_mesh = false;    // 8 GPUs with direct NVLinks, as in a DGX-1
    int gpus_per_switch = 1;   // PCIe
    int gpus_per_socket = 16;  // NUMA node

    std::vector<SimGpu> gpus;
    std::vector<SimEvent> events;  // the latest ones, by serial
};

// False when there is no such profile.
bool make_profile(std::string_view profile, std::string_view node, SimNode& out);
std::string profile_names();  // "a10, a100-mig, …" for messages

// What joins two GPUs of the profile, by position.
unsigned topology_level(const SimNode& node, int a, int b);  // nvmlGpuTopologyLevel_t
int nvlinks_between(const SimNode& node, int a, int b);      // direct ones
int nvlinks_to_switches(const SimNode& node);                // of each GPU
inline constexpr int kSwitchBus = 0x07;                      // where the simulated NVSwitches are

// Replaces the instances of GPU `position`; false for an unknown MIG profile.
bool set_instances(SimNode& node, int position, const std::vector<std::string>& profiles);

std::string write_state(const SimNode& node);
// False (and a message) when a line is not understood; `out` is then unspecified.
bool read_state(std::string_view text, SimNode& out, std::string& error);

// The symbols that driver 450 does not have.
const std::vector<std::string>& symbols_after_450();

}  // namespace egpu::testing
