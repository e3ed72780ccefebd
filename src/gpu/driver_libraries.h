// The libraries of a driver installed on Linux, found below a root. Part of find_driver().
#pragma once

#include <string>
#include <vector>

#include "gpu/driver.h"

namespace egpu::gpu {

// Fills version, libraries and notes of `driver`.
void find_libraries(const FileView& root, const DriverHints& hints, Driver& driver);

}  // namespace egpu::gpu
