#include "testing/nvml/profile.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "base/random.h"

namespace egpu::testing {
namespace {

struct Hardware {
    const char* profile;
    const char* model;
    int gpus;
    std::uint64_t memory_mib;
    unsigned multiprocessors;
    int compute_major;
    int compute_minor;
    unsigned brand;  // NVML's nvmlBrandType_t
    bool mig_capable;
    bool fabric;  // NVML tells the state of the NVSwitches
    int switch_links;
    bool cube_mesh;
    int gpus_per_switch;
};

constexpr std::array kHardware{
    Hardware{"t4", "Tesla T4", 2, 15360, 40, 7, 5, 2, false, false, 0, false, 1},
    Hardware{"a10", "NVIDIA A10", 4, 23028, 72, 8, 6, 14, false, false, 0, false, 1},
    Hardware{
        "a100-mig", "NVIDIA A100-SXM4-40GB", 2, 40960, 108, 8, 0, 14, true, false, 0, false, 1},
    Hardware{"h100", "NVIDIA H100 80GB HBM3", 8, 81559, 132, 9, 0, 14, true, true, 18, false, 1},
    Hardware{"sixteen", "Tesla V100-SXM3-32GB", 16, 32768, 80, 7, 0, 2, false, false, 6, false, 2},
    Hardware{"dgx1", "Tesla V100-SXM2-16GB", 8, 16160, 80, 7, 0, 2, false, false, 0, true, 2},
    Hardware{"l40s", "NVIDIA L40S", 8, 46068, 142, 8, 9, 14, false, false, 0, false, 4},
};

// Two quads; six NVLinks a GPU.
constexpr int kCubeMesh[8][8] = {
    {0, 1, 1, 2, 2, 0, 0, 0},
    {1, 0, 2, 1, 0, 2, 0, 0},
    {1, 2, 0, 2, 0, 0, 1, 0},
    {2, 1, 2, 0, 0, 0, 0, 1},
    {2, 0, 0, 0, 0, 1, 1, 2},
    {0, 2, 0, 0, 1, 0, 2, 1},
    {0, 0, 1, 0, 1, 2, 0, 2},
    {0, 0, 0, 1, 2, 1, 2, 0},
};

struct MigProfile {
    const char* name;
    int slices;
    int first_instance;  // the driver numbers GPU instances by size
    std::uint64_t memory_mib;
};

constexpr std::array kMigProfiles{
    MigProfile{"1g.5gb", 1, 7, 4864},
    MigProfile{"2g.10gb", 2, 3, 9856},
    MigProfile{"3g.20gb", 3, 1, 19968},
    MigProfile{"4g.20gb", 4, 1, 19968},
    MigProfile{"7g.40gb", 7, 0, 40192},
    MigProfile{"1g.10gb", 1, 7, 9984},
    MigProfile{"2g.20gb", 2, 3, 20096},
    MigProfile{"3g.40gb", 3, 1, 40320},
    MigProfile{"4g.40gb", 4, 1, 40320},
    MigProfile{"7g.80gb", 7, 0, 80896},
};

constexpr int kMigSlices = 7;
constexpr unsigned kSliceMultiprocessors = 14;

// A stable UUID (random form, RFC 4122) of a text.
std::string uuid_of(const char* prefix, const std::string& text) {
    std::uint64_t state = 0xCBF29CE484222325ULL;
    for (char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    const std::uint64_t high = (splitmix64(state) & ~0xF000ULL) | 0x4000ULL;
    const std::uint64_t low = (splitmix64(state) & ~(3ULL << 62)) | (2ULL << 62);
    std::array<char, 64> out{};
    std::snprintf(
        out.data(),
        out.size(),
        "%s%08x-%04x-%04x-%04x-%012llx",
        prefix,
        static_cast<unsigned>(high >> 32),
        static_cast<unsigned>((high >> 16) & 0xFFFF),
        static_cast<unsigned>(high & 0xFFFF),
        static_cast<unsigned>(low >> 48),
        static_cast<unsigned long long>(low & 0xFFFFFFFFFFFFULL)
    );
    return out.data();
}

}  // namespace

bool make_profile(std::string_view profile, std::string_view node, SimNode& out) {
    const auto* hardware = std::find_if(kHardware.begin(), kHardware.end(), [&](const auto& h) {
        return profile == h.profile;
    });
    if (hardware == kHardware.end()) return false;
    out = SimNode{};
    out.profile = profile;
    out.node = node;
    out.model = hardware->model;
    out.memory_mib = hardware->memory_mib;
    out.multiprocessors = hardware->multiprocessors;
    out.compute_major = hardware->compute_major;
    out.compute_minor = hardware->compute_minor;
    out.brand = hardware->brand;
    out.mig_capable = hardware->mig_capable;
    out.switch_links = hardware->switch_links;
    out.cube_mesh = hardware->cube_mesh;
    out.gpus_per_switch = hardware->gpus_per_switch;
    out.gpus_per_socket = hardware->gpus > 2 ? hardware->gpus / 2 : 2;
    for (int i = 0; i < hardware->gpus; ++i) {
        SimGpu gpu;
        gpu.uuid = uuid_of("GPU-", out.profile + "/" + out.node + "/" + std::to_string(i));
        gpu.minor = i;
        gpu.pci_bus = 0x1b + 0x07 * i;
        gpu.numa = i / out.gpus_per_socket;
        gpu.fabric_state = hardware->fabric ? 3 : 0;
        out.gpus.push_back(std::move(gpu));
    }
    if (profile == "a100-mig") {
        set_instances(out, 0, {"3g.20gb", "2g.10gb", "1g.5gb", "1g.5gb"});
        set_instances(out, 1, std::vector<std::string>(7, "1g.5gb"));
    }
    return true;
}

unsigned topology_level(const SimNode& node, int a, int b) {
    if (a / node.gpus_per_socket != b / node.gpus_per_socket) return 50;  // the whole system
    if (a / node.gpus_per_switch == b / node.gpus_per_switch) return 10;  // one PCIe switch
    return node.gpus_per_switch == 1 ? 40 : 30;  // host bridges of one NUMA node, or one of them
}

int nvlinks_between(const SimNode& node, int a, int b) {
    return node.cube_mesh ? kCubeMesh[a][b] : 0;
}

int nvlinks_to_switches(const SimNode& node) {
    return node.switch_links;
}

std::string profile_names() {
    std::string names;
    for (const auto& h : kHardware) names += (names.empty() ? "" : ", ") + std::string(h.profile);
    return names;
}

bool set_instances(SimNode& node, int position, const std::vector<std::string>& profiles) {
    SimGpu& gpu = node.gpus.at(static_cast<std::size_t>(position));
    std::vector<SimInstance> instances;
    std::map<std::string, int> used;
    int slices = 0;
    for (const auto& name : profiles) {
        const auto* mig = std::find_if(kMigProfiles.begin(), kMigProfiles.end(), [&](auto& m) {
            return name == m.name;
        });
        if (mig == kMigProfiles.end()) return false;
        slices += mig->slices;
        const int nth = used[name]++;
        SimInstance instance;
        instance.profile = name;
        instance.gpu_instance = mig->first_instance + nth;
        instance.memory_mib = mig->memory_mib;
        instance.multiprocessors = static_cast<unsigned>(mig->slices) * kSliceMultiprocessors;
        instance.uuid = uuid_of("MIG-", gpu.uuid + "/" + name + "/" + std::to_string(nth));
        instances.push_back(std::move(instance));
    }
    if (slices > kMigSlices || !node.mig_capable) return false;
    gpu.instances = std::move(instances);
    gpu.mig = true;
    return true;
}

const std::vector<std::string>& symbols_after_450() {
    static const std::vector<std::string> symbols{
        "nvmlEventSetWait_v2",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGpuFabricInfo",
        "nvmlDeviceGetGpuFabricInfoV",
        "nvmlDeviceGetArchitecture",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetAttributes_v2",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetNvLinkRemoteDeviceType",
    };
    return symbols;
}

}  // namespace egpu::testing
