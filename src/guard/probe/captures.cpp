// Captures that go on while other work is limited. A capture in mode "global" is broken by any call
// that is unsafe then, by whatever thread: the guard must not be the one that makes it.
#include <chrono>
#include <thread>

#include "guard/probe/probe.h"

namespace probe {
namespace {

constexpr int kGlobal = 0;

LaunchKernel cuLaunchKernel{"cuLaunchKernel"};

int launch(CUfunction kernel, CUstream stream) {
    return cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr);
}

CUstream new_stream() {
    CUstream stream = nullptr;
    EXPECT_RESULT(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    return stream;
}

// How many nodes were captured.
std::size_t end_capture(CUstream stream) {
    CUgraph graph = nullptr;
    EXPECT_RESULT(cuStreamEndCapture(stream, &graph), 0);
    std::size_t count = 0;
    EXPECT_RESULT(
        (Function<CUgraph, CUgraphNode*, std::size_t*>{"cuGraphGetNodes"}(graph, nullptr, &count)),
        0
    );
    return count;
}

void launch_for_a_while(CUfunction kernel, CUstream stream) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    while (std::chrono::steady_clock::now() < end) EXPECT_RESULT(launch(kernel, stream), 0);
}

// Paced launches on one stream while another captures, by the same thread and by another one.
void scenario_capture_beside_launches() {
    const CUcontext context = start();
    const CUfunction kernel = kernel_of_100us();
    const CUstream captured = new_stream();
    const CUstream busy = new_stream();
    launch_for_a_while(kernel, busy);
    for (const bool same_thread : {true, false}) {
        EXPECT_RESULT(cuStreamBeginCapture(captured, kGlobal), 0);
        EXPECT_RESULT(launch(kernel, captured), 0);
        if (same_thread) {
            launch_for_a_while(kernel, busy);
        } else {
            std::thread([&] {
                EXPECT_RESULT(cuCtxSetCurrent(context), 0);
                launch_for_a_while(kernel, busy);
            }).join();
        }
        EXPECT_RESULT(launch(kernel, captured), 0);
        EXPECT(end_capture(captured) == 2);
    }
}

// The end of a capture that never was does not end the one that goes on.
void scenario_capture_ends_elsewhere() {
    start();
    const CUfunction kernel = kernel_of_100us();
    const CUstream captured = new_stream();
    const CUstream busy = new_stream();
    launch_for_a_while(kernel, busy);
    EXPECT_RESULT(cuStreamBeginCapture(captured, kGlobal), 0);
    CUgraph none = nullptr;
    EXPECT(cuStreamEndCapture(busy, &none) != 0);
    launch_for_a_while(kernel, busy);
    EXPECT_RESULT(launch(kernel, captured), 0);
    EXPECT(end_capture(captured) == 1);
}

// Quota 1 GiB: memory that was freed on the stream comes back by waiting for it.
void scenario_capture_beside_pools() {
    start();
    const CUfunction kernel = kernel_of_100us();
    const CUstream captured = new_stream();
    const CUstream busy = new_stream();
    const CUstream other = new_stream();
    EXPECT_RESULT(cuStreamBeginCapture(captured, kGlobal), 0);
    for (int i = 0; i < 4; ++i) {
        CUdeviceptr at = 0;
        const CUstream stream = i % 2 == 0 ? busy : other;
        const int result = cuMemAllocAsync(&at, 700 * kMiB, stream);
        EXPECT(result == 0 || result == CUDA_ERROR_OUT_OF_MEMORY);
        EXPECT_RESULT(launch(kernel, stream), 0);
        if (result == 0) EXPECT_RESULT(cuMemFreeAsync(at, stream), 0);
    }
    EXPECT_RESULT(launch(kernel, captured), 0);
    EXPECT(end_capture(captured) == 1);
}

}  // namespace

void add_captures(Scenarios& to) {
    to["capture_beside_launches"] = scenario_capture_beside_launches;
    to["capture_ends_elsewhere"] = scenario_capture_ends_elsewhere;
    to["capture_beside_pools"] = scenario_capture_beside_pools;
}

}  // namespace probe
