// From a ClusterView to what the table shows. Pure.
#pragma once

#include <string>

#include "sim/audit.h"
#include "sim/table.h"

namespace egpu::sim {

ClusterPicture picture_of(const ClusterView& view);

}  // namespace egpu::sim
