// What the node's state makes of this process's driver: its version, and the devices in the order
// of CUDA_VISIBLE_DEVICES.
#pragma once

#include "testing/cuda/driver.h"

namespace egpu::testing::cuda {

// Fills version, settings, devices and the shared node. Under Driver::mutex.
CUresult read_node(Driver& driver);

}  // namespace egpu::testing::cuda
