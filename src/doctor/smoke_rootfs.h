// The smoke test's root file system: this program and the libraries it runs with, nothing else. No
// image, no registry.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace egpu::doctor {

// Fills `folder` so that "/edge-gpu" runs inside it, and so that a driver's library finds the
// parts of the C library it needs. Returns the folders of the libraries inside it, as
// LD_LIBRARY_PATH wants them: this process may have found them by that variable or relative to its
// own place, which the container does not have.
Result<std::string> make_smoke_rootfs(const std::filesystem::path& folder);

}  // namespace egpu::doctor
