#include "testing/nvml/sim_library.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include <sys/stat.h>

#include "testing/nvml/state_source.h"

namespace egpu::testing {
namespace {

constexpr int kMaxGpus = 64;
constexpr int kMaxSlots = 7;
constexpr int kStride = kMaxSlots + 1;
std::array<char, kMaxGpus * kStride> handles;  // only its addresses are used

struct Library {
    std::mutex mutex;
    StateSource source;
    std::string path;
    struct stat stat_seen {};
    bool stat_known = false;
    std::shared_ptr<const SimNode> node;
    int inits = 0;
    std::uint64_t baseline = 0;  // events up to this one were there before nvmlInit
};

Library& library() {
    // Never destroyed: threads may still be inside a call when the process ends.
    static auto* instance = new Library;
    return *instance;
}

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_ino == b.st_ino && a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
           a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Reads the file again when it changed. A broken file keeps the last good state, with a complaint.
void reload(Library& lib) {
    if (lib.path.empty()) {
        lib.source = find_state_source();
        if (lib.source.path.empty()) {
            std::fprintf(stderr, "simulated NVML: EDGE_GPU_SIM_NVML names no state file\n");
            return;
        }
        lib.path = lib.source.path;
    }
    struct stat now {};
    if (stat(lib.path.c_str(), &now) != 0) {
        lib.node.reset();
        lib.stat_known = false;
        return;
    }
    if (lib.stat_known && same_file(now, lib.stat_seen)) return;
    lib.stat_seen = now;
    lib.stat_known = true;
    std::ifstream in(lib.path);
    std::ostringstream text;
    text << in.rdbuf();
    auto node = std::make_shared<SimNode>();
    std::string error;
    if (read_state(text.str(), *node, error)) {
        hide_cards_without_node(lib.source, *node);
        lib.node = std::move(node);
    } else {
        std::fprintf(stderr, "simulated NVML: %s: %s\n", lib.path.c_str(), error.c_str());
    }
}

std::uint64_t newest_serial(const SimNode& node) {
    std::uint64_t newest = 0;
    for (const auto& event : node.events) newest = std::max(newest, event.serial);
    return newest;
}

void sleep_ms(unsigned ms) {
    if (ms != 0) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

std::shared_ptr<const SimNode> current_node() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    reload(lib);
    return lib.node;
}

Code library_init() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    if (lib.inits == 0) {  // tests change the environment between runs
        lib.path.clear();
        lib.stat_known = false;
        lib.node.reset();
    }
    reload(lib);
    if (!lib.node || !lib.node->driver_loaded) return Code::kDriverNotLoaded;
    if (lib.inits++ == 0) lib.baseline = newest_serial(*lib.node);
    return Code::kSuccess;
}

Code library_shutdown() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    if (lib.inits == 0) return Code::kUninitialized;
    --lib.inits;
    return Code::kSuccess;
}

std::uint64_t event_baseline() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    return lib.baseline;
}

void raise_event_baseline(std::uint64_t serial) {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    lib.baseline = std::max(lib.baseline, serial);
}

std::string state_path() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    return lib.path;
}

SharedNode* shared_node() {
    Library& lib = library();
    const std::lock_guard lock(lib.mutex);
    return lib.node ? SharedNode::open_existing(lib.source, *lib.node) : nullptr;
}

Code enter(const char* symbol, std::shared_ptr<const SimNode>& node) {
    {
        Library& lib = library();
        const std::lock_guard lock(lib.mutex);
        if (lib.inits == 0) return Code::kUninitialized;
        reload(lib);
        node = lib.node;
        if (!node || !node->driver_loaded) {
            lib.inits = 0;  // the session is gone with the driver: a new nvmlInit is needed
            return Code::kDriverNotLoaded;
        }
    }
    sleep_ms(node->slow_ms);
    const auto& hidden = node->hidden;
    if (std::find(hidden.begin(), hidden.end(), symbol) != hidden.end()) {
        return Code::kFunctionNotFound;
    }
    return Code::kSuccess;
}

Code enter(const char* symbol, nvml::Device device, Target& target, bool deep) {
    if (const Code code = enter(symbol, target.node); code != Code::kSuccess) return code;
    const int position = handle_position(device);
    if (position < 0 || position >= static_cast<int>(target.node->gpus.size())) {
        return Code::kInvalidArgument;
    }
    target.gpu_position = position;
    target.gpu = &target.node->gpus[static_cast<std::size_t>(position)];
    sleep_ms(target.gpu->slow_ms);
    if (target.gpu->lost || target.gpu->fallen || index_of(*target.node, position) < 0) {
        return Code::kGpuIsLost;
    }
    if (const int slot = handle_slot(device); slot >= 0) {
        const auto& instances = target.gpu->instances;
        if (!target.gpu->mig || slot >= static_cast<int>(instances.size())) return Code::kNotFound;
        target.instance = &instances[static_cast<std::size_t>(slot)];
    }
    return deep && target.gpu->failing ? Code::kUnknown : Code::kSuccess;
}

unsigned enumerated(const SimNode& node) {
    unsigned count = 0;
    for (const auto& gpu : node.gpus) {
        if (node.count >= 0 && count >= static_cast<unsigned>(node.count)) break;
        if (!gpu.removed) ++count;
    }
    return count;
}

int position_of(const SimNode& node, unsigned index) {
    if (index >= enumerated(node)) return -1;
    for (std::size_t i = 0; i < node.gpus.size(); ++i) {
        if (node.gpus[i].removed) continue;
        if (index-- == 0) return static_cast<int>(i);
    }
    return -1;
}

int index_of(const SimNode& node, int position) {
    for (unsigned index = 0; index < enumerated(node); ++index) {
        if (position_of(node, index) == position) return static_cast<int>(index);
    }
    return -1;
}

nvml::Device gpu_handle(int position) {
    return instance_handle(position, -1);
}

nvml::Device instance_handle(int position, int slot) {
    const auto offset = static_cast<std::size_t>(position * kStride + slot + 1);
    return reinterpret_cast<nvml::Device>(&handles[offset]);
}

namespace {
std::ptrdiff_t handle_offset(nvml::Device device) {
    const auto address = reinterpret_cast<std::uintptr_t>(device);
    const auto begin = reinterpret_cast<std::uintptr_t>(handles.data());
    if (address < begin || address >= begin + handles.size()) return -1;
    return static_cast<std::ptrdiff_t>(address - begin);
}
}  // namespace

int handle_position(nvml::Device device) {
    const auto offset = handle_offset(device);
    return offset < 0 ? -1 : static_cast<int>(offset / kStride);
}

int handle_slot(nvml::Device device) {
    const auto offset = handle_offset(device);
    return offset < 0 ? -1 : static_cast<int>(offset % kStride) - 1;
}

}  // namespace egpu::testing
