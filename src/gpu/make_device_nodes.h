// Carries out a DeviceNodePlan on this machine. Needs CAP_MKNOD (and CAP_SYS_MODULE, or a modprobe
// that has it, to load nvidia-uvm).
#pragma once

#include <filesystem>

#include "base/clock.h"
#include "base/result.h"
#include "gpu/device_nodes.h"

namespace egpu::gpu {

// Creates nodes and links below `dev_root`. Goes on after a failure; the error names all.
Status make_device_nodes(const std::filesystem::path& dev_root, const DeviceNodePlan& plan);

// modprobe nvidia-uvm with `host_root` as root; kDeadline when it takes longer.
Status load_uvm_module(const std::filesystem::path& host_root, Duration deadline);

}  // namespace egpu::gpu
