// Settings, and what they do to the driver.
#include "testing/cuda/settings.h"

#include <chrono>

#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using cuda::Settings;
using namespace egpu::cuda;

TEST(SimSettings, lines_are_read_and_wrong_ones_are_named) {
    Settings settings;
    std::string wrong;
    EXPECT_TRUE(settings.apply_all("context_mib 7; ;loop_ns 3;fail cuMemAlloc_v2 2 1 3", wrong));
    EXPECT_EQ(settings.context_mib, 7U);
    EXPECT_EQ(settings.loop_ns, 3U);
    EXPECT_EQ(settings.fault("cuMemAlloc_v2"), 0);
    EXPECT_EQ(settings.fault("cuMemAlloc"), 0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(settings.fault("cuMemAlloc_v2"), 2);
    EXPECT_EQ(settings.fault("cuMemAlloc_v2"), 0);
    for (const char* line :
         {"context_mib",
          "context_mib x",
          "context_mib 1 2",
          "nothing 1",
          "fail a",
          "fail a b",
          "fail a 1 2 3 4"}) {
        EXPECT_FALSE(settings.apply_all(line, wrong)) << line;
        EXPECT_EQ(wrong, line);
    }
}

class SimDriverSettings : public SimDriver {};

TEST_F(SimDriverSettings, context_cost_and_errors_on_demand) {
    set("context_mib 450");
    set("context_ms 30");
    set("fail cuMemAlloc_v2 999 1 2");
    ::setenv("EDGE_GPU_SIM_CUDA", "context_mib 500;fail cuCtxSynchronize 719 0 0", 1);
    Child child([](Report& report) {
        const auto begin = std::chrono::steady_clock::now();
        const Library cu = cuda_with_context();
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - begin;
        WITHIN(took.count(), 30.0, 30'000.0);
        IS(free_memory(cu), kTotal - kIdle - 500 * kMib);
        CUdeviceptr address = 0;
        for (const int expected : {0, 999, 999, 0})
            IS(cu("cuMemAlloc_v2", &address, kMib), expected);
        IS(cu("cuCtxSynchronize"), 719);
        IS(cu("cuCtxSynchronize"), 719);
    });
    EXPECT_EQ(child.finish(), "");
    ::setenv("EDGE_GPU_SIM_CUDA", "no_such_thing 1", 1);
    Child wrong([](Report& report) { IS(cuda_library()("cuInit", 0U), 1); });
    EXPECT_EQ(wrong.finish(), "");
    ::unsetenv("EDGE_GPU_SIM_CUDA");
}

TEST_F(SimDriverSettings, copies_take_the_time_of_a_bus) {
    set("copy_gbps 1");
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* host = nullptr;
        CUdeviceptr address = 0;
        const std::size_t size = 40'000'000;
        IS(cu("cuMemHostAlloc", &host, size, 0U), 0);
        IS(cu("cuMemAlloc_v2", &address, size), 0);
        static_cast<char*>(host)[size - 1] = 'c';
        const auto begin = std::chrono::steady_clock::now();
        IS(cu("cuMemcpyHtoDAsync_v2",
              address,
              static_cast<const void*>(host),
              size,
              static_cast<void*>(nullptr)),
           0);
        IS(cu("cuStreamSynchronize", static_cast<void*>(nullptr)), 0);
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - begin;
        WITHIN(took.count(), 40.0, 30'000.0);
        char last = 0;
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&last), address + size - 1, std::size_t{1}), 0);
        IS(last, 'c');
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimDriverSettings, contexts_are_current_per_thread_and_primary_ones_counted) {
    Child child([](Report& report) {
        const Library cu = cuda_library();
        void* first = nullptr;
        void* second = nullptr;
        void* current = nullptr;
        IS(cu("cuCtxGetCurrent", &current), 3);
        IS(cu("cuInit", 0U), 0);
        IS(cu("cuCtxCreate_v3", &first, static_cast<CUexecAffinityParam*>(nullptr), 0, 0U, 0), 0);
        IS(cu("cuCtxCreate_v4", &second, static_cast<CUctxCreateParams*>(nullptr), 0U, 1), 0);
        int device = -1;
        IS(cu("cuCtxGetDevice", &device), 0);
        IS(device, 1);
        IS(cu("cuCtxPopCurrent_v2", &current), 0);
        IS(current, second);
        IS(cu("cuCtxGetDevice", &device), 0);
        IS(device, 0);
        IS(cu("cuCtxPushCurrent_v2", second), 0);
        IS(cu("cuCtxDestroy_v2", second), 0);
        IS(cu("cuCtxPushCurrent_v2", second), 201);
        IS(cu("cuCtxGetCurrent", &current), 0);
        IS(current, first);
        void* primary = nullptr;
        void* again = nullptr;
        IS(cu("cuDevicePrimaryCtxRetain", &primary, 0), 0);
        IS(cu("cuDevicePrimaryCtxRetain", &again, 0), 0);
        IS(again, primary);
        IS(free_memory(cu), kTotal - kIdle - 2 * kContext);
        IS(cu("cuDevicePrimaryCtxRelease_v2", 0), 0);
        unsigned flags = 0;
        int active = 0;
        IS(cu("cuDevicePrimaryCtxGetState", 0, &flags, &active), 0);
        IS(active, 1);
        IS(cu("cuDevicePrimaryCtxRelease_v2", 0), 0);
        IS(cu("cuDevicePrimaryCtxRelease_v2", 0), 201);
        IS(free_memory(cu), kTotal - kIdle - kContext);
        IS(cu("cuDevicePrimaryCtxRetain", &primary, 0), 0);
        IS(cu("cuDevicePrimaryCtxReset_v2", 0), 0);
        IS(free_memory(cu), kTotal - kIdle - kContext);
        IS(cu("cuCtxDestroy_v2", primary), 201);
        CUdeviceptr address = 0;
        IS(cu("cuMemAlloc_v2", &address, free_memory(cu) - 200 * kMib), 0);
        IS(cu("cuCtxCreate_v2", &second, 0U, 0), 2);  // a context needs memory, too
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
