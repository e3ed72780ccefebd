#include "base/version.h"

namespace egpu {

// Defined by CMake for this file alone, so that a new version does not rebuild the world.
const char* const kVersion = EDGE_GPU_VERSION;

}  // namespace egpu
