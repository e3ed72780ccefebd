// What programs are told, by CUDA and by NVML.
#include <cstdio>

#include <dlfcn.h>

#include "guard/nvml_abi.h"
#include "guard/probe/probe.h"

namespace probe {
namespace {

// Prints what is free in MiB, then total, then the total of the device.
void scenario_sizes() {
    start();
    std::size_t of_device = 0;
    EXPECT_RESULT(cuDeviceTotalMem(&of_device, 0), 0);
    std::printf("%zu %zu %zu\n", free_now() / kMiB, total_now() / kMiB, of_device / kMiB);
}

// Says what it could allocate each time a line comes in.
void scenario_follow() {
    start();
    char line[16];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        CUdeviceptr at = 0;
        const int result = cuMemAlloc(&at, 600 * kMiB);
        if (result == 0) cuMemFree(at);
        std::printf("%d %zu\n", result, total_now() / kMiB);
        std::fflush(stdout);
    }
}

// What nvidia-smi would ask, without CUDA and with no place in the accounts. Prints total, used,
// free in MiB.
void scenario_nvml(const char* path) {
    void* nvml = dlopen(path, RTLD_NOW);
    EXPECT(nvml != nullptr);
    const auto call = [nvml](const char* name) { return dlsym(nvml, name); };
    using Device = egpu::nvml::nvmlDevice_t;
    EXPECT_RESULT(reinterpret_cast<int (*)()>(call("nvmlInit_v2"))(), 0);
    Device device = nullptr;
    EXPECT_RESULT(
        reinterpret_cast<int (*)(unsigned, Device*)>(call("nvmlDeviceGetHandleByIndex_v2"))(
            0, &device
        ),
        0
    );
    egpu::nvml::nvmlMemory_t memory{};
    EXPECT_RESULT(
        reinterpret_cast<
            int (*)(Device, egpu::nvml::nvmlMemory_t*)>(call("nvmlDeviceGetMemoryInfo"))(
            device, &memory
        ),
        0
    );
    EXPECT(memory.total == memory.used + memory.free);
    if (auto* second = call("nvmlDeviceGetMemoryInfo_v2"); second != nullptr) {
        egpu::nvml::nvmlMemory_v2_t more{};
        more.version = egpu::nvml::NVML_MEMORY_V2;
        const int result =
            reinterpret_cast<int (*)(Device, egpu::nvml::nvmlMemory_v2_t*)>(second)(device, &more);
        EXPECT(result != 0 || (more.total == memory.total && more.used == memory.used));
    }
    std::printf("%llu %llu %llu", memory.total / kMiB, memory.used / kMiB, memory.free / kMiB);
    if (auto* list = call("nvmlDeviceGetComputeRunningProcesses_v2"); list != nullptr) {
        egpu::nvml::nvmlProcessInfo_v2_t entries[64];
        unsigned count = 64;
        using List = int (*)(Device, unsigned*, egpu::nvml::nvmlProcessInfo_v2_t*);
        const int result = reinterpret_cast<List>(list)(device, &count, entries);
        for (unsigned i = 0; result == 0 && i < count; ++i) std::printf(" pid %u", entries[i].pid);
    }
    std::printf("\n");
}

}  // namespace

void add_reports(Scenarios& to, const std::string& argument) {
    to["sizes"] = scenario_sizes;
    to["follow"] = scenario_follow;
    to["nvml"] = [&argument] { scenario_nvml(argument.c_str()); };
}

}  // namespace probe
