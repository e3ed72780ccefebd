// The simulated libcuda and libnvidia-ml, as programs in containers load them.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing/nvml/sim_state.h"
#include "testing/temp_folder.h"

namespace egpu::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Cuda {
    explicit Cuda(const std::string& path) : library(dlopen(path.c_str(), RTLD_NOW)) {}
    template <class F>
    F get(const char* name) {
        return reinterpret_cast<F>(dlsym(library, name));
    }
    void* library;
};

// What a process sees that loads both libraries from `folder`, as lines; in a child, because the
// libraries keep their state.
std::vector<std::string> seen(
    const std::filesystem::path& folder, const char* state, const char* visible = nullptr
) {
    const std::string out = (folder / "seen").string();
    const pid_t child = ::fork();
    if (child == 0) {
        state == nullptr ? ::unsetenv(kSimNvmlEnv) : ::setenv(kSimNvmlEnv, state, 1);
        if (visible != nullptr) ::setenv("CUDA_VISIBLE_DEVICES", visible, 1);
        std::ofstream to(out);
        Cuda cuda((folder / "libcuda.so.1").string());
        if (cuda.library == nullptr) {
            to << "cannot load: " << dlerror() << "\n";
        } else if (const int error = cuda.get<int (*)(unsigned)>("cuInit")(0); error != 0) {
            to << "cuInit " << error << "\n";
        } else {
            int count = 0;
            cuda.get<int (*)(int*)>("cuDeviceGetCount")(&count);
            for (int i = 0; i < count; ++i) {
                char name[64] = {};
                std::size_t bytes = 0;
                unsigned char uuid[16] = {};
                cuda.get<int (*)(char*, int, int)>("cuDeviceGetName")(name, sizeof name, i);
                cuda.get<int (*)(std::size_t*, int)>("cuDeviceTotalMem_v2")(&bytes, i);
                cuda.get<int (*)(unsigned char*, int)>("cuDeviceGetUuid_v2")(uuid, i);
                char hex[9];
                std::snprintf(
                    hex, sizeof hex, "%02x%02x%02x%02x", uuid[0], uuid[1], uuid[2], uuid[3]
                );
                to << name << " " << (bytes >> 20U) << " " << hex << "\n";
            }
        }
        Cuda nvml((folder / "libnvidia-ml.so.1").string());
        if (nvml.library != nullptr && nvml.get<int (*)()>("nvmlInit_v2")() == 0) {
            unsigned count = 0;
            nvml.get<int (*)(unsigned*)>("nvmlDeviceGetCount_v2")(&count);
            to << "nvml " << count << "\n";
        }
        to.close();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    std::vector<std::string> lines;
    std::ifstream in(out);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

class SimCuda : public ::testing::Test {
  protected:
    SimCuda() {
        std::filesystem::copy_file(EDGE_GPU_SIM_CUDA_LIBRARY, folder_ / "libcuda.so.1");
        std::filesystem::copy_file(EDGE_GPU_SIM_LIBRARY, folder_ / "libnvidia-ml.so.1");
        for (const auto& uuid : gpus_.gpu_uuids()) starts_.push_back(uuid.substr(4, 8));
    }

    std::string line(int card) {
        return "Tesla T4 15360 " + starts_[static_cast<std::size_t>(card)];
    }

    SimGpus gpus_ = SimGpus::make("t4", "node-1").value();
    std::vector<std::string> starts_;
    TempFolder folder_;
};

TEST_F(SimCuda, on_a_host_it_sees_the_node_of_the_state_file) {
    const auto state = folder_ / "state";
    ASSERT_TRUE(gpus_.write(state).ok());
    EXPECT_THAT(seen(folder_.path(), state.c_str()), ElementsAre(line(0), line(1), "nvml 2"));
    EXPECT_THAT(seen(folder_.path(), state.c_str(), "1"), ElementsAre(line(1), "nvml 2"));
    EXPECT_THAT(
        seen(folder_.path(), state.c_str(), "1,0"), ElementsAre(line(1), line(0), "nvml 2")
    );
    const std::string uuid = gpus_.gpu_uuids()[1];
    EXPECT_THAT(seen(folder_.path(), state.c_str(), uuid.c_str()), ElementsAre(line(1), "nvml 2"));
    EXPECT_THAT(seen(folder_.path(), state.c_str(), "7,0"), ElementsAre("cuInit 100", "nvml 2"));
    EXPECT_THAT(seen(folder_.path(), "/nowhere"), ElementsAre("cuInit 100"));
    EXPECT_THAT(seen(folder_.path(), nullptr), ElementsAre("cuInit 100"));
}

TEST_F(SimCuda, in_a_container_it_sees_the_cards_with_a_node) {
    gpus_.set_visible_in((folder_ / "dev").string());
    gpus_.set_cards((folder_ / "cards").string());
    ASSERT_TRUE(gpus_.write(folder_ / "libnvidia-simulated-state.so.535.161.08").ok());
    EXPECT_THAT(seen(folder_.path(), nullptr), ElementsAre("cuInit 100", "nvml 0"));
    std::filesystem::create_directories(folder_ / "dev");
    std::ofstream(folder_ / "dev/nvidia1") << "";
    EXPECT_THAT(seen(folder_.path(), nullptr), ElementsAre(line(1), "nvml 1"));
    // Its index is the first it sees.
    EXPECT_THAT(seen(folder_.path(), nullptr, "0"), ElementsAre(line(1), "nvml 1"));
    std::ofstream(folder_ / "dev/nvidia0") << "";
    EXPECT_THAT(seen(folder_.path(), nullptr), ElementsAre(line(0), line(1), "nvml 2"));
}

TEST_F(SimCuda, functions_by_name_and_version) {
    Cuda cuda((folder_ / "libcuda.so.1").string());
    ASSERT_NE(cuda.library, nullptr);
    const auto look =
        cuda.get<int (*)(const char*, void**, int, std::uint64_t, int*)>("cuGetProcAddress_v2");
    void* function = nullptr;
    int found = -1;
    EXPECT_EQ(look("cuDeviceGetUuid", &function, 12000, 0, &found), 0);
    EXPECT_EQ(function, dlsym(cuda.library, "cuDeviceGetUuid_v2"));
    EXPECT_EQ(look("cuDeviceGetUuid", &function, 10000, 0, &found), 0);
    EXPECT_EQ(function, dlsym(cuda.library, "cuDeviceGetUuid"));
    EXPECT_EQ(look("cuGetErrorString", &function, 5000, 0, &found), 0);
    EXPECT_EQ(found, 2);
    EXPECT_EQ(look("cuNoSuchThing", &function, 12000, 0, &found), 0);
    EXPECT_EQ(found, 1);
    EXPECT_EQ(function, nullptr);
    const auto old = cuda.get<int (*)(const char*, void**, int, std::uint64_t)>("cuGetProcAddress");
    EXPECT_EQ(old("cuNoSuchThing", &function, 12000, 0), 500);
    int count = 0;
    EXPECT_EQ(cuda.get<int (*)(int*)>("cuDeviceGetCount")(&count), 3);
    const char* text = nullptr;
    EXPECT_EQ(cuda.get<int (*)(int, const char**)>("cuGetErrorString")(100, &text), 0);
    EXPECT_STREQ(text, "no CUDA-capable device is detected");
}

}  // namespace
}  // namespace egpu::testing
