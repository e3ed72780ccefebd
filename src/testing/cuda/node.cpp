#include "testing/cuda/node.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "testing/nvml/profile.h"
#include "testing/nvml/state_source.h"

namespace egpu::testing::cuda {
namespace {

// The CUDA version that came with a driver.
int cuda_version(const std::string& driver) {
    struct Release {
        int driver;
        int cuda;
    };
    constexpr Release kReleases[] = {
        {580, 13000},
        {570, 12080},
        {560, 12060},
        {550, 12040},
        {535, 12020},
        {525, 12000},
        {515, 11070},
        {510, 11060},
        {470, 11040},
        {460, 11020},
        {450, 11000},
        {0, 10020}};
    const int branch = std::atoi(driver.c_str());
    for (const Release& release : kReleases) {
        if (branch >= release.driver) return release.cuda;
    }
    return 0;
}

using Devices = std::vector<std::unique_ptr<Device>>;

Devices all_devices(const SimNode& node) {
    Devices devices;
    int count = 0;
    for (std::size_t i = 0; i < node.gpus.size(); ++i) {
        const SimGpu& gpu = node.gpus[i];
        if (gpu.removed || (node.count >= 0 && count >= node.count)) continue;
        ++count;
        if (gpu.lost || gpu.fallen || (gpu.mig && gpu.instances.empty())) continue;
        auto device = std::make_unique<Device>();
        const auto position = static_cast<int>(i);
        if (gpu.mig) {
            // A process uses one instance of a card.
            const SimInstance& instance = gpu.instances.front();
            device->name = node.model + " MIG " + instance.profile;
            device->uuid = instance.uuid;
            device->bytes = instance.memory_mib << 20U;
            device->multiprocessors = instance.multiprocessors;
            device->unit = unit_of(position, 0);
        } else {
            device->name = node.model;
            device->uuid = gpu.uuid;
            device->bytes = node.memory_mib << 20U;
            device->multiprocessors = node.multiprocessors;
            device->unit = unit_of(position, -1);
        }
        device->major = node.compute_major;
        device->minor = node.compute_minor;
        device->pci_bus = gpu.pci_bus;
        device->threads_per_multiprocessor =
            node.compute_major == 7 && node.compute_minor == 5  ? 1024
            : node.compute_major == 8 && node.compute_minor > 0 ? 1536
                                                                : 2048;
        devices.push_back(std::move(device));
    }
    return devices;
}

// The list ends at the first entry that names no card, or one again.
Devices chosen(Devices all) {
    const char* wanted = std::getenv("CUDA_VISIBLE_DEVICES");
    if (wanted == nullptr) return all;
    Devices devices;
    std::istringstream list(wanted);
    for (std::string word; std::getline(list, word, ',');) {
        const bool number =
            !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
        auto found = all.end();
        if (number && word.size() < 6 && std::stoul(word) < all.size()) {
            found = all.begin() + static_cast<std::ptrdiff_t>(std::stoul(word));
        } else if (!number && word.size() > 4) {
            found = std::find_if(all.begin(), all.end(), [&](const auto& device) {
                return device != nullptr && device->uuid.rfind(word, 0) == 0;
            });
        }
        if (found == all.end() || *found == nullptr) break;
        devices.push_back(std::move(*found));
    }
    return devices;
}

}  // namespace

CUresult read_node(Driver& driver) {
    const StateSource source = find_state_source();
    std::ifstream in(source.path);
    std::ostringstream text;
    text << in.rdbuf();
    SimNode node;
    std::string error;
    if (!in || !read_state(text.str(), node, error) || !node.driver_loaded) {
        return CUDA_ERROR_NO_DEVICE;
    }
    hide_cards_without_node(source, node);
    driver.version = cuda_version(node.driver_version);
    Settings settings;
    const char* environment = std::getenv("EDGE_GPU_SIM_CUDA");
    std::string wrong;
    bool understood = true;
    for (const std::string& line : node.cuda) {
        understood = understood && settings.apply_all(line, wrong);
    }
    understood = understood && settings.apply_all(environment == nullptr ? "" : environment, wrong);
    if (!understood) {
        std::fprintf(
            stderr, "simulated CUDA: not understood (see settings.h): %s\n", wrong.c_str()
        );
        return CUDA_ERROR_INVALID_VALUE;
    }
    Devices devices = chosen(all_devices(node));
    if (devices.empty()) return CUDA_ERROR_NO_DEVICE;
    for (std::size_t i = 0; i < devices.size(); ++i) devices[i]->ordinal = static_cast<int>(i);
    driver.shared = SharedNode::open(source, node);
    if (driver.shared == nullptr) return CUDA_ERROR_SYSTEM_NOT_READY;
    driver.settings = std::move(settings);
    driver.devices = std::move(devices);
    return CUDA_SUCCESS;
}

}  // namespace egpu::testing::cuda
