// The smoke test's root file system: this program and the libraries it runs with, nothing else. No
// image, no registry.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace egpu::doctor {

// Fills `folder` so that "/edge-gpu" runs inside it, and so that a driver's library finds the
// parts of the C library it needs.
Status make_smoke_rootfs(const std::filesystem::path& folder);

}  // namespace egpu::doctor
