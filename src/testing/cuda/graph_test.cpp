// Capture, graphs made by hand, launches, updates, and memory that graphs allocate.
#include <chrono>
#include <thread>

#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;

class SimGraphs : public SimDriver {};

double now_ms() {
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now().time_since_epoch()
    )
        .count();
}

struct Streams {
    explicit Streams(const Library& cu) {
        if (cu("cuStreamCreate", &first, 1U) != 0 || cu("cuStreamCreate", &second, 1U) != 0 ||
            cu("cuEventCreate", &fork, 2U) != 0 || cu("cuEventCreate", &join, 2U) != 0) {
            std::abort();
        }
    }
    void* first = nullptr;
    void* second = nullptr;
    void* fork = nullptr;
    void* join = nullptr;
};

TEST_F(SimGraphs, two_streams_are_captured_and_launched) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const Streams s(cu);
        void* work = kernel(cu, "work_100ms");
        CUdeviceptr memory = 0;
        IS(cu("cuMemAlloc_v2", &memory, std::size_t{4}), 0);
        IS(cu("cuMemsetD32_v2", memory, 0U, std::size_t{1}), 0);
        IS(cu("cuStreamBeginCapture_v2", s.first, 0), 0);
        int status = 0;
        IS(cu("cuStreamIsCapturing", s.first, &status), 0);
        IS(status, 1);
        IS(launch(cu, work, s.first), 0);
        IS(cu("cuEventRecord", s.fork, s.first), 0);
        IS(cu("cuStreamWaitEvent", s.second, s.fork, 0U), 0);
        IS(cu("cuMemsetD32Async", memory, 5U, std::size_t{1}, s.second), 0);
        IS(launch(cu, work, s.second), 0);
        IS(cu("cuEventRecord", s.join, s.second), 0);
        IS(cu("cuStreamWaitEvent", s.first, s.join, 0U), 0);
        IS(launch(cu, work, s.first), 0);
        void* graph = nullptr;
        IS(cu("cuStreamEndCapture", s.second, &graph), 903);
        IS(cu("cuStreamEndCapture", s.first, &graph), 0);
        std::size_t nodes = 0;
        std::size_t edges = 0;
        const auto none = static_cast<void**>(nullptr);
        IS(cu("cuGraphGetNodes", graph, none, &nodes), 0);
        IS(cu("cuGraphGetEdges", graph, none, none, &edges), 0);
        IS(nodes, 4U);
        IS(edges, 4U);
        unsigned value = 9;
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&value), memory, std::size_t{4}), 0);
        IS(value, 0U);  // nothing ran
        void* exec = nullptr;
        IS(cu("cuGraphInstantiateWithFlags", &exec, graph, 0ULL), 0);
        IS(cu("cuGraphDestroy", graph), 0);
        const double begin = now_ms();
        IS(cu("cuGraphLaunch", exec, s.second), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 0);  // behind the first launch
        IS(cu("cuStreamQuery", s.second), 600);
        IS(cu("cuStreamSynchronize", s.first), 0);
        WITHIN(now_ms() - begin, 599.0, kSlow);
        IS(cu("cuMemcpyDtoH_v2", static_cast<void*>(&value), memory, std::size_t{4}), 0);
        IS(value, 5U);
        IS(cu("cuGraphExecDestroy", exec), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 1);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimGraphs, what_breaks_a_capture) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const Streams s(cu);
        void* work = kernel(cu, "work_1us");
        void* graph = nullptr;
        CUdeviceptr memory = 0;
        const auto broken = [&](int expected) {
            IS(launch(cu, work, s.first), 901);
            IS(cu("cuStreamEndCapture", s.first, &graph), expected);
            IS(graph == nullptr, true);
        };
        // A query of any event, from any thread, in the mode "global".
        void* event = nullptr;
        IS(cu("cuEventCreate", &event, 0U), 0);
        IS(cu("cuStreamBeginCapture_v2", s.first, 0), 0);
        std::thread([&] { IS(cu("cuEventQuery", event), 900); }).join();
        broken(901);
        // Not in the mode "thread local" from another thread, nor for a thread that is "relaxed".
        IS(cu("cuStreamBeginCapture_v2", s.first, 1), 0);
        std::thread([&] { IS(cu("cuEventQuery", event), 0); }).join();
        int mode = 2;
        IS(cu("cuThreadExchangeStreamCaptureMode", &mode), 0);
        IS(mode, 0);
        IS(cu("cuMemAlloc_v2", &memory, kMib), 0);
        IS(cu("cuThreadExchangeStreamCaptureMode", &mode), 0);
        IS(cu("cuMemAlloc_v2", &memory, kMib), 900);
        broken(901);
        // The legacy stream, when a blocking one is captured.
        void* blocking = nullptr;
        IS(cu("cuStreamCreate", &blocking, 0U), 0);
        IS(cu("cuStreamBeginCapture_v2", blocking, 2), 0);
        IS(launch(cu, work), 906);
        IS(cu("cuStreamEndCapture", blocking, &graph), 901);
        // Work of another stream that is not joined.
        IS(cu("cuStreamBeginCapture_v2", s.first, 2), 0);
        IS(cu("cuEventRecord", s.fork, s.first), 0);
        IS(cu("cuStreamWaitEvent", s.second, s.fork, 0U), 0);
        IS(launch(cu, work, s.second), 0);
        IS(cu("cuEventQuery", s.fork), 907);
        IS(cu("cuStreamEndCapture", s.first, &graph), 904);
        IS(launch(cu, work, s.second), 0);  // no longer captured
        IS(cu("cuStreamBeginCapture_v2", static_cast<void*>(nullptr), 2), 906);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimGraphs, nodes_by_hand_and_updates) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const Streams s(cu);
        void* spin = kernel(cu, "spin_ns");
        void* graph = nullptr;
        IS(cu("cuGraphCreate", &graph, 0U), 0);
        std::uint64_t ns = 10'000'000;
        void* parameters[] = {&ns};
        CUDA_KERNEL_NODE_PARAMS params{};
        params.func = static_cast<CUfunction>(spin);
        params.gridDimX = 40;
        params.gridDimY = params.gridDimZ = params.blockDimY = params.blockDimZ = 1;
        params.blockDimX = 1024;
        params.kernelParams = parameters;
        void* node = nullptr;
        void* end = nullptr;
        static int ran = 0;
        struct {
            void (*fn)(void*);
            void* data;
        } host{[](void*) { ++ran; }, nullptr};
        const auto none = static_cast<void* const*>(nullptr);
        IS(cu("cuGraphAddKernelNode_v2", &node, graph, none, std::size_t{0}, &params), 0);
        IS(cu("cuGraphAddHostNode",
              &end,
              graph,
              static_cast<void* const*>(&node),
              std::size_t{1},
              &host),
           0);
        int type = -1;
        IS(cu("cuGraphNodeGetType", end, &type), 0);
        IS(type, 3);
        void* exec = nullptr;
        IS(cu("cuGraphInstantiate_v2",
              &exec,
              graph,
              static_cast<void**>(nullptr),
              static_cast<char*>(nullptr),
              std::size_t{0}),
           0);
        ns = 0;  // the value was taken
        double begin = now_ms();
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);
        WITHIN(now_ms() - begin, 9.9, kSlow);
        IS(ran, 1);
        ns = 400'000'000;
        IS(cu("cuGraphExecKernelNodeSetParams_v2", exec, node, &params), 0);
        begin = now_ms();
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);
        WITHIN(now_ms() - begin, 399.9, kSlow);
        // Back to what the graph says.
        struct {
            int result;
            void* node;
            void* from;
        } info{};
        IS(cu("cuGraphExecUpdate_v2", exec, graph, &info), 0);
        begin = now_ms();
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);
        WITHIN(now_ms() - begin, 9.9, 350.0);
        IS(cu("cuGraphNodeSetEnabled", exec, node, 0U), 0);
        begin = now_ms();
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);

        IS(ran, 4);
        void* extra = nullptr;
        IS(cu("cuGraphAddEmptyNode", &extra, graph, none, std::size_t{0}), 0);
        IS(cu("cuGraphExecUpdate_v2", exec, graph, &info), 910);
        IS(info.result, 2);
        // A circle cannot be made executable.
        IS(cu("cuGraphAddDependencies",
              graph,
              static_cast<void* const*>(&end),
              static_cast<void* const*>(&node),
              std::size_t{1}),
           0);
        IS(cu("cuGraphInstantiateWithFlags", &exec, graph, 0ULL), 1);
    });
    EXPECT_EQ(child.finish(), "");
}

std::uint64_t graph_memory(const Library& cu, int attribute) {
    std::uint64_t value = ~0ULL;
    cu("cuDeviceGetGraphMemAttribute", 0, attribute, static_cast<void*>(&value));
    return value;
}

TEST_F(SimGraphs, graphs_allocate) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        const Streams s(cu);
        const std::size_t before = free_memory(cu);
        void* graph = nullptr;
        void* exec = nullptr;
        CUdeviceptr kept = 0;
        CUdeviceptr inside = 0;
        IS(cu("cuStreamBeginCapture_v2", s.first, 2), 0);
        IS(cu("cuMemAllocAsync", &kept, 100 * kMib, s.first), 0);
        IS(cu("cuMemAllocAsync", &inside, 60 * kMib, s.first), 0);
        IS(cu("cuMemsetD8Async", kept, static_cast<unsigned char>('g'), std::size_t{8}, s.first),
           1);
        IS(cu("cuMemFreeAsync", inside, s.first), 0);
        IS(cu("cuStreamEndCapture", s.first, &graph), 0);
        IS(cu("cuGraphInstantiateWithFlags", &exec, graph, 0ULL), 0);
        IS(free_memory(cu), before);
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);
        IS(free_memory(cu), before - 160 * kMib);
        IS(graph_memory(cu, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT), 100 * kMib);
        IS(graph_memory(cu, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT), 160 * kMib);
        IS(cu("cuMemsetD8_v2", kept, static_cast<unsigned char>('g'), std::size_t{8}), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 1);  // what it allocates is not free
        IS(cu("cuDeviceGraphMemTrim", 0), 0);
        IS(free_memory(cu), before - 100 * kMib);
        IS(cu("cuMemFreeAsync", kept, s.first), 0);
        IS(cu("cuStreamSynchronize", s.first), 0);
        IS(cu("cuMemsetD8_v2", kept, static_cast<unsigned char>('g'), std::size_t{8}), 1);
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuMemFree_v2", kept), 0);
        IS(cu("cuGraphExecDestroy", exec), 0);
        // With the flag "free on launch" it may be launched again.
        IS(cu("cuGraphInstantiateWithFlags", &exec, graph, 1ULL), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 0);
        IS(graph_memory(cu, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT), 100 * kMib);
        IS(cu("cuMemFree_v2", kept), 0);
        IS(cu("cuGraphExecDestroy", exec), 0);
        IS(cu("cuGraphDestroy", graph), 0);
        IS(cu("cuDeviceGraphMemTrim", 0), 0);
        IS(free_memory(cu), before);
        CUDA_MEM_ALLOC_NODE_PARAMS params{};
        params.poolProps.allocType = 1;
        params.poolProps.location = {1, 0};
        params.bytesize = kTotal;
        void* node = nullptr;
        IS(cu("cuGraphCreate", &graph, 0U), 0);
        IS(cu("cuGraphAddMemAllocNode",
              &node,
              graph,
              static_cast<void* const*>(nullptr),
              std::size_t{0},
              &params),
           0);
        IS(cu("cuGraphInstantiateWithFlags", &exec, graph, 0ULL), 0);
        IS(cu("cuGraphLaunch", exec, s.first), 2);
        IS(free_memory(cu), before);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
