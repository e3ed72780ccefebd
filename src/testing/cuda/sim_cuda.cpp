// The simulated libcuda.so.1: the part of the driver API that tells which cards a process sees.
//
// It plays the node of the simulated NVML (testing/nvml/state_source.h) and sees the cards whose
// nodes exist, then those of CUDA_VISIBLE_DEVICES, as the real library does. No memory, no kernels.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "testing/nvml/profile.h"
#include "testing/nvml/state_source.h"

namespace {

using egpu::testing::SimGpu;
using egpu::testing::SimNode;

enum Result : int {
    kSuccess = 0,
    kInvalidValue = 1,
    kNotInitialized = 3,
    kNoDevice = 100,
    kInvalidDevice = 101,
    kNotFound = 500,
};

struct Device {
    std::string name;
    std::string uuid;  // "GPU-…", with MIG on that of the instance
    std::uint64_t bytes = 0;
};

struct State {
    std::mutex mutex;
    bool initialised = false;
    int version = 0;
    std::vector<Device> devices;
};

State& state() {
    static auto* instance = new State;
    return *instance;
}

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

std::vector<Device> all_devices(const SimNode& node) {
    std::vector<Device> devices;
    int count = 0;
    for (const SimGpu& gpu : node.gpus) {
        if (gpu.removed || (node.count >= 0 && count >= node.count)) continue;
        ++count;
        if (gpu.lost || gpu.fallen) continue;
        if (!gpu.mig) {
            devices.push_back({node.model, gpu.uuid, node.memory_mib << 20U});
        } else if (!gpu.instances.empty()) {
            // A process uses one instance of a card.
            const auto& instance = gpu.instances.front();
            devices.push_back(
                {node.model + " MIG " + instance.profile, instance.uuid, instance.memory_mib << 20U}
            );
        }
    }
    return devices;
}

// The list ends at the first entry that names no card.
std::vector<Device> chosen(const std::vector<Device>& all) {
    const char* wanted = std::getenv("CUDA_VISIBLE_DEVICES");
    if (wanted == nullptr) return all;
    std::vector<Device> devices;
    std::istringstream list(wanted);
    for (std::string word; std::getline(list, word, ',');) {
        const bool number =
            !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
        auto found = all.end();
        if (number && word.size() < 6 && std::stoul(word) < all.size()) {
            found = all.begin() + static_cast<std::ptrdiff_t>(std::stoul(word));
        } else if (!number && word.size() > 4) {
            found = std::find_if(all.begin(), all.end(), [&](const Device& device) {
                return device.uuid.rfind(word, 0) == 0;
            });
        }
        if (found == all.end()) break;
        devices.push_back(*found);
    }
    return devices;
}

Result initialise() {
    const auto source = egpu::testing::find_state_source();
    std::ifstream in(source.path);
    std::ostringstream text;
    text << in.rdbuf();
    SimNode node;
    std::string error;
    if (!in || !egpu::testing::read_state(text.str(), node, error) || !node.driver_loaded) {
        return kNoDevice;
    }
    egpu::testing::hide_cards_without_node(source, node);
    State& now = state();
    now.version = cuda_version(node.driver_version);
    now.devices = chosen(all_devices(node));
    now.initialised = !now.devices.empty();
    return now.initialised ? kSuccess : kNoDevice;
}

// The device, or what is wrong.
Result find(int ordinal, Device& out) {
    State& now = state();
    const std::lock_guard lock(now.mutex);
    if (!now.initialised) return kNotInitialized;
    if (ordinal < 0 || ordinal >= static_cast<int>(now.devices.size())) return kInvalidDevice;
    out = now.devices[static_cast<std::size_t>(ordinal)];
    return kSuccess;
}

// The 16 bytes of "GPU-01234567-89ab-…".
void uuid_bytes(const std::string& uuid, unsigned char* out) {
    std::memset(out, 0, 16);
    std::string digits;
    for (const char c : uuid.substr(uuid.find('-') + 1)) {
        if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
    }
    for (std::size_t i = 0; i < 16 && 2 * i + 1 < digits.size(); ++i) {
        out[i] =
            static_cast<unsigned char>(std::stoul(digits.substr(2 * i, 2), nullptr, 16) & 0xFFU);
    }
}

}  // namespace

extern "C" {

#define EXPORT __attribute__((visibility("default")))

EXPORT int cuInit(unsigned flags) {
    if (flags != 0) return kInvalidValue;
    State& now = state();
    const std::lock_guard lock(now.mutex);
    return now.initialised ? kSuccess : initialise();
}

// Works without cuInit, as in the real library.
EXPORT int cuDriverGetVersion(int* version) {
    if (version == nullptr) return kInvalidValue;
    State& now = state();
    const std::lock_guard lock(now.mutex);
    if (now.version == 0) initialise();
    *version = now.version;
    return kSuccess;
}

EXPORT int cuDeviceGetCount(int* count) {
    if (count == nullptr) return kInvalidValue;
    State& now = state();
    const std::lock_guard lock(now.mutex);
    if (!now.initialised) return kNotInitialized;
    *count = static_cast<int>(now.devices.size());
    return kSuccess;
}

EXPORT int cuDeviceGet(int* device, int ordinal) {
    Device found;
    if (device == nullptr) return kInvalidValue;
    const Result result = find(ordinal, found);
    if (result == kSuccess) *device = ordinal;
    return result;
}

EXPORT int cuDeviceGetName(char* name, int length, int device) {
    Device found;
    if (name == nullptr || length <= 0) return kInvalidValue;
    const Result result = find(device, found);
    if (result != kSuccess) return result;
    const std::size_t size = std::min(found.name.size(), static_cast<std::size_t>(length - 1));
    std::memcpy(name, found.name.data(), size);
    name[size] = '\0';
    return kSuccess;
}

EXPORT int cuDeviceGetUuid(unsigned char* uuid, int device) {
    Device found;
    if (uuid == nullptr) return kInvalidValue;
    const Result result = find(device, found);
    if (result == kSuccess) uuid_bytes(found.uuid, uuid);
    return result;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    return cuDeviceGetUuid(uuid, device);
}

EXPORT int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
    Device found;
    if (bytes == nullptr) return kInvalidValue;
    const Result result = find(device, found);
    if (result == kSuccess) *bytes = found.bytes;
    return result;
}

EXPORT int cuDeviceTotalMem(unsigned* bytes, int device) {  // 32 bits: before CUDA 3.2
    std::size_t all = 0;
    if (bytes == nullptr) return kInvalidValue;
    const int result = cuDeviceTotalMem_v2(&all, device);
    if (result == kSuccess) *bytes = static_cast<unsigned>(all);
    return result;
}

EXPORT int cuGetErrorString(int error, const char** text) {
    if (text == nullptr) return kInvalidValue;
    switch (error) {
        case kSuccess:
            *text = "no error";
            return kSuccess;
        case kInvalidValue:
            *text = "invalid argument";
            return kSuccess;
        case kNotInitialized:
            *text = "initialization error";
            return kSuccess;
        case kNoDevice:
            *text = "no CUDA-capable device is detected";
            return kSuccess;
        case kInvalidDevice:
            *text = "invalid device ordinal";
            return kSuccess;
        case kNotFound:
            *text = "named symbol not found";
            return kSuccess;
        default:
            *text = nullptr;
            return kInvalidValue;
    }
}

EXPORT int cuGetProcAddress_v2(
    const char* symbol, void** function, int version, std::uint64_t flags, int* found
);

EXPORT int cuGetProcAddress(const char* symbol, void** function, int version, std::uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}

EXPORT int cuGetProcAddress_v2(
    const char* symbol, void** function, int version, std::uint64_t /*flags*/, int* found
) {
    if (symbol == nullptr || function == nullptr) return kInvalidValue;
    struct Entry {
        const char* name;
        int since;  // the CUDA version from which a caller gets this form
        void* function;
    };
    // Newest form first.
    static const Entry kEntries[] = {
        {"cuInit", 2000, reinterpret_cast<void*>(&cuInit)},
        {"cuDriverGetVersion", 2020, reinterpret_cast<void*>(&cuDriverGetVersion)},
        {"cuDeviceGetCount", 2000, reinterpret_cast<void*>(&cuDeviceGetCount)},
        {"cuDeviceGet", 2000, reinterpret_cast<void*>(&cuDeviceGet)},
        {"cuDeviceGetName", 2000, reinterpret_cast<void*>(&cuDeviceGetName)},
        {"cuDeviceGetUuid", 11040, reinterpret_cast<void*>(&cuDeviceGetUuid_v2)},
        {"cuDeviceGetUuid", 9020, reinterpret_cast<void*>(&cuDeviceGetUuid)},
        {"cuDeviceTotalMem", 3020, reinterpret_cast<void*>(&cuDeviceTotalMem_v2)},
        {"cuDeviceTotalMem", 2000, reinterpret_cast<void*>(&cuDeviceTotalMem)},
        {"cuGetErrorString", 6000, reinterpret_cast<void*>(&cuGetErrorString)},
        {"cuGetProcAddress", 12000, reinterpret_cast<void*>(&cuGetProcAddress_v2)},
        {"cuGetProcAddress", 11030, reinterpret_cast<void*>(&cuGetProcAddress)},
    };
    bool too_old = false;
    for (const Entry& entry : kEntries) {
        if (std::strcmp(entry.name, symbol) != 0) continue;
        too_old = version < entry.since;
        if (too_old) continue;
        *function = entry.function;
        if (found != nullptr) *found = 0;
        return kSuccess;
    }
    *function = nullptr;
    if (found == nullptr) return kNotFound;
    *found = too_old ? 2 : 1;  // version not sufficient; symbol not found
    return kSuccess;
}

}  // extern "C"
