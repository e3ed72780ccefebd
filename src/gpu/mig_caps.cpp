#include "gpu/mig_caps.h"

#include <sstream>

#include "base/files.h"

namespace egpu::gpu {

void MigCaps::add_nodes(
    int gpu_minor, int gpu_instance, int compute_instance, std::vector<std::string>& nodes
) const {
    const std::string gi = "gpu" + std::to_string(gpu_minor) + "/gi" + std::to_string(gpu_instance);
    for (const auto& name :
         {gi + "/access", gi + "/ci" + std::to_string(compute_instance) + "/access"}) {
        if (const auto found = minors_.find(name); found != minors_.end()) {
            nodes.push_back("/dev/nvidia-caps/nvidia-cap" + std::to_string(found->second));
        }
    }
}

MigCaps read_mig_caps(const std::string& proc_root) {
    std::map<std::string, int> minors;
    if (const auto text = read_file(proc_root + "/driver/nvidia-caps/mig-minors", 1U << 20)) {
        std::istringstream in(*text);
        std::string name;
        int minor = 0;
        while (in >> name >> minor) minors[name] = minor;
    }
    return MigCaps(std::move(minors));
}

}  // namespace egpu::gpu
