// Drivers that are not installed as on a server: Windows' under WSL, NVIDIA's Jetson boards. Parts
// of find_driver().
#pragma once

#include "gpu/driver.h"

namespace egpu::gpu {

bool is_wsl(const FileView& root);
void find_wsl(const FileView& root, Driver& driver);

bool is_tegra(const FileView& root);
// From the lists in /etc/nvidia-container-runtime/host-files-for-container.d (lines "dev|dir|lib|
// sym, PATH") that Jetson's image brings along.
void find_tegra(const FileView& root, Driver& driver);

}  // namespace egpu::gpu
