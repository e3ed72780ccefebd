// The device nodes a MIG instance needs beside its GPU's: /dev/nvidia-caps/nvidia-cap<X>, with X
// from the kernel's table /proc/driver/nvidia-caps/mig-minors (lines "gpu0/gi7/access 66",
// "gpu0/gi7/ci0/access 67").
#pragma once

#include <map>
#include <string>
#include <vector>

namespace egpu::gpu {

class MigCaps {
  public:
    explicit MigCaps(std::map<std::string, int> minors) : minors_(std::move(minors)) {}
    // Appends the nodes of GPU instance and compute instance; unknown ones are left out.
    void add_nodes(
        int gpu_minor, int gpu_instance, int compute_instance, std::vector<std::string>& nodes
    ) const;

  private:
    std::map<std::string, int> minors_;
};

// Empty when the file is missing (no MIG, or a driver before r450).
MigCaps read_mig_caps(const std::string& proc_root);

}  // namespace egpu::gpu
