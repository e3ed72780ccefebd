// Every kind of launch.
#include <chrono>
#include <cstdio>
#include <string>

#include "guard/probe/probe.h"

namespace probe {
namespace {

// Launches kernels of 100 us for a second, of one kind; prints the GPU time launched in percent of
// the wall time.
void scenario_spin(const std::string& kind) {
    start();
    const CUfunction kernel = kernel_of_100us();
    CUstream stream = nullptr;
    EXPECT_RESULT(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    LaunchKernel launch{"cuLaunchKernel"};
    LaunchKernel per_thread{"cuLaunchKernel_ptsz"};
    Function<
        CUfunction,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        unsigned,
        CUstream,
        void**>
        together{"cuLaunchCooperativeKernel"};
    Function<const CUlaunchConfig*, CUfunction, void**, void**> ex{"cuLaunchKernelEx"};
    CUgraphExec exec = nullptr;
    if (kind == "graph") {
        EXPECT_RESULT(cuStreamBeginCapture(stream, 0), 0);
        EXPECT_RESULT(launch(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr), 0);
        CUgraph graph = nullptr;
        EXPECT_RESULT(cuStreamEndCapture(stream, &graph), 0);
        EXPECT_RESULT(cuGraphInstantiate(&exec, graph, 0), 0);
    }
    CUlaunchConfig config{};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 32;
    config.blockDimY = config.blockDimZ = 1;
    config.hStream = stream;
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    int launches = 0;
    while (passed() < 1) {
        int result = 999;
        if (kind == "kernel")
            result = launch(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr);
        if (kind == "ptsz")
            result = per_thread(kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr);
        if (kind == "cooperative") result = together(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr);
        if (kind == "ex") result = ex(&config, kernel, nullptr, nullptr);
        if (kind == "graph") result = cuGraphLaunch(exec, stream);
        EXPECT(result == 0);
        ++launches;
    }
    EXPECT_RESULT(cuCtxSynchronize(), 0);
    std::printf("%d\n", static_cast<int>(launches * 0.0001 / passed() * 100));
}

}  // namespace

void add_launches(Scenarios& to, const std::string& argument) {
    to["spin"] = [&argument] { scenario_spin(argument); };
}

}  // namespace probe
