// What a pod holds whose request is refused but which runs anyway, bound past the extender: its
// quantities alone, shares above one card rounded up to whole cards, what cannot be read left out.
// Pure, never fails.
#pragma once

#include <vector>

#include "core/request.h"

namespace egpu::core {

PodRequest request_by_quantity(const std::vector<ContainerSpec>& containers);

}  // namespace egpu::core
