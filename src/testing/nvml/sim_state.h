// Drives the simulated libnvidia-ml.so.1: describes a node's cards and their faults, and writes the
// state file.
//
// The library reads the file named in the environment variable EDGE_GPU_SIM_NVML and follows it
// live: every write() takes effect on the next NVML call, events wake a blocked event wait. UUIDs
// are a function of profile, node and position, so they differ between nodes and survive restarts.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/card.h"
#include "testing/nvml/profile.h"

namespace egpu::testing {

inline constexpr const char* kSimNvmlEnv = "EDGE_GPU_SIM_NVML";

class SimGpus {
  public:
    // Profiles: "t4" (2), "a10" (4), "a100-mig" (2 with 4 + 7 MIG instances), "h100" (8, NVSwitch),
    // "sixteen" (16 x V100, NVSwitch), "dgx1" (8 x V100, direct NVLinks), "l40s" (8 behind two PCIe
    // switches).
    static Result<SimGpus> make(std::string_view profile, std::string_view node);

    // The cards a healthy enumeration reports: physical GPUs, or MIG instances where MIG is on;
    // removed ones left out. NUMA nodes are -1 unless `numa` (a monitor whose sysfs_root was
    // written by write_sysfs sees them).
    std::vector<core::Card> expected_cards(bool numa = false) const;
    // The UUIDs of the physical GPUs, removed ones included.
    std::vector<std::string> gpu_uuids() const;
    const SimNode& node() const { return node_; }

    // Faults of one physical GPU; kNotFound when there is no such UUID. All can be taken back.
    Status set_lost(std::string_view gpu, bool lost);  // every call: GPU_IS_LOST
    Status set_fallen_off_bus(
        std::string_view gpu, bool fallen
    );  // no handle: UNKNOWN; old handles: GPU_IS_LOST
    Status set_removed(
        std::string_view gpu, bool removed
    );  // not enumerated, later indexes move down
    Status set_failing(std::string_view gpu, bool failing);  // questions beyond the UUID: UNKNOWN
    Status set_uncorrected_ecc(std::string_view gpu, std::uint64_t total);
    Status set_remap_failed(std::string_view gpu, bool failed);
    Status set_recovery_action(
        std::string_view gpu, unsigned action
    );  // 0 none, 1 reset, 2 reboot, …
    Status set_fabric_state(
        std::string_view gpu, unsigned state
    );  // 1 not started, 2 in progress, 3 completed
    Status set_slow(std::string_view gpu, unsigned milliseconds);  // each call that names this GPU
    Status set_nvlink_down(std::string_view gpu, bool down);       // none of its links is active
    // MIG profiles such as "1g.5gb"; `on` with none: a GPU without usable cards. Sends
    // MigConfigChange.
    Status set_mig(std::string_view gpu, bool on, std::vector<std::string> profiles = {});

    // One event, delivered once to each process that was initialised before it was written.
    // kWholeGpu: not of an instance.
    Status push_xid(
        std::string_view gpu,
        std::uint64_t xid,
        std::uint32_t gpu_instance = 0xFFFFFFFFU,
        std::uint32_t compute_instance = 0xFFFFFFFFU
    );

    // Faults of the driver.
    void set_driver_loaded(bool loaded
    );  // false: DRIVER_NOT_LOADED; after that a new nvmlInit is needed
    void set_driver_version(std::string version);
    void set_driver_450(bool on
    );  // version 450.102.04 and symbols newer than it answer FUNCTION_NOT_FOUND
    void hide_symbol(std::string symbol);  // that one function answers FUNCTION_NOT_FOUND
    void set_count(int count);             // only the first `count` GPUs are enumerated; -1: all
    // Only GPUs with a node (nvidia0, …) in `folder` are seen, as by a driver in a container; "":
    // all.
    void set_visible_in(std::string folder) { node_.visible_in = std::move(folder); }
    // Lists of processes are as some drivers make them: "twice", each process has two entries;
    // "beyond", its memory is more than the card has; "": right.
    void set_lists(std::string wrong) { node_.lists = std::move(wrong); }
    // Where processes of this node share the cards' memory and time (shared_node.h).
    void set_cards(std::string path) { node_.cards = std::move(path); }
    // A setting of the simulated libcuda, as a line of testing/cuda/settings.h.
    void add_cuda(std::string line) { node_.cuda.push_back(std::move(line)); }
    void set_slow_calls(unsigned milliseconds);  // every call

    // Replaces the state file atomically.
    Status write(const std::filesystem::path& path) const;
    // A sysfs with the cards' NUMA nodes, a proc with the MIG capability minors.
    Status write_sysfs(const std::filesystem::path& root) const;
    Status write_proc(const std::filesystem::path& root) const;

  private:
    explicit SimGpus(SimNode node) : node_(std::move(node)) {}
    Result<SimGpu*> find(std::string_view gpu);
    template <class Value>
    Status set(std::string_view gpu, Value SimGpu::*what, Value value);
    void push(
        int position, std::uint64_t type, std::uint64_t data, std::uint32_t gi, std::uint32_t ci
    );

    SimNode node_;
    std::uint64_t last_serial_ = 0;
};

}  // namespace egpu::testing
