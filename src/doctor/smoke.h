// The last step: a container with one card, started by the node's own runtime without any of
// NVIDIA's tools, in which CUDA's driver API is asked. What `docker run --gpus all … nvidia-smi`
// shows elsewhere.
//
// The container is given what `--injection direct` gives: device nodes, and the driver's files as
// mounts. Its root file system is this program with its libraries (smoke_rootfs.h). It is started
// by containerd (through `ctr`, which comes with it; on Docker nodes Docker's own containerd), else
// by runc or crun directly. Everything it makes is removed again, also after a time-out or Ctrl-C.
#pragma once

#include <string>

#include "base/clock.h"
#include "doctor/facts.h"
#include "doctor/finding.h"

namespace egpu::doctor {

struct SmokeOptions {
    std::string nvml_library = "libnvidia-ml.so.1";
    std::string work_folder = "/var/lib/edge-gpu";  // on the node; a folder is made below it
    std::string containerd_socket;                  // "": as the node is configured
    Duration limit = Seconds(60);
};

// Skipped where an earlier check of the driver or the runtime found an error.
CheckResult run_smoke(const Report& so_far, const Facts& facts, const SmokeOptions& options);

}  // namespace egpu::doctor
