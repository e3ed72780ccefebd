// Where a simulated driver library finds the node it plays, and which of its cards it sees.
//
// On a host: the file named by EDGE_GPU_SIM_NVML. In a container, where nothing sets that: a file
// `libnvidia-simulated-state.so.<driver version>` in the library's own folder, a name that the
// injection of driver files brings along like any library; cards without a node in /dev are then
// invisible, as they are to the real driver.
#pragma once

#include <string>

#include "testing/nvml/profile.h"

namespace egpu::testing {

struct StateSource {
    std::string path;  // "" when there is none
    bool beside_library = false;
};

StateSource find_state_source();

// Marks as removed the cards whose node is not in `node.visible_in` (or, for a state beside the
// library, in /dev).
void hide_cards_without_node(const StateSource& source, SimNode& node);

}  // namespace egpu::testing
