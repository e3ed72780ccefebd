#include "testing/nvml/state_source.h"

#include <cstdlib>

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

namespace egpu::testing {
namespace {

constexpr const char* kBeside = "libnvidia-simulated-state.so";

std::string state_in(const std::string& folder) {
    DIR* opened = ::opendir(folder.c_str());
    if (opened == nullptr) return "";
    std::string found;
    while (const dirent* entry = ::readdir(opened)) {
        if (std::string(entry->d_name).rfind(kBeside, 0) == 0) found = folder + "/" + entry->d_name;
    }
    ::closedir(opened);
    return found;
}

}  // namespace

StateSource find_state_source() {
    if (const char* path = std::getenv("EDGE_GPU_SIM_NVML")) return {path, false};
    Dl_info info{};
    if (::dladdr(reinterpret_cast<const void*>(&find_state_source), &info) == 0 ||
        info.dli_fname == nullptr) {
        return {};
    }
    const std::string library = info.dli_fname;
    return {state_in(library.substr(0, library.rfind('/'))), true};
}

void hide_cards_without_node(const StateSource& source, SimNode& node) {
    const std::string folder =
        node.visible_in.empty() && source.beside_library ? "/dev" : node.visible_in;
    if (folder.empty()) return;
    for (SimGpu& gpu : node.gpus) {
        const std::string path = folder + "/nvidia" + std::to_string(gpu.minor);
        if (::access(path.c_str(), F_OK) != 0) gpu.removed = true;
    }
}

}  // namespace egpu::testing
