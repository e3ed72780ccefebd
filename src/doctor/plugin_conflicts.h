// Other plugins that serve the same resources on this node. Pure.
#pragma once

#include <string>
#include <vector>

#include "doctor/facts.h"

namespace egpu::doctor {

struct PluginConflict {
    bool nvidia = true;  // NVIDIA's device plugin; false: nano-gpu's agent
    std::string looked_at;
    std::string found;
    std::string fix;
};

// By pods of this node when the API server was asked, else by processes. At most one of each kind.
std::vector<PluginConflict> plugin_conflicts(const Facts& facts);

}  // namespace egpu::doctor
