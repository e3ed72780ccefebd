// Order and time of what is on streams.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

using namespace egpu::cuda;

class SimStreams : public SimDriver {};

double now_ms() {
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now().time_since_epoch()
    )
        .count();
}

void* stream_of(const Library& cu, unsigned flags) {
    void* stream = nullptr;
    if (cu("cuStreamCreate", &stream, flags) != 0) std::abort();
    return stream;
}

void* event_of(const Library& cu, unsigned flags = 0) {
    void* event = nullptr;
    if (cu("cuEventCreate", &event, flags) != 0) std::abort();
    return event;
}

TEST_F(SimStreams, launches_return_at_once_and_take_their_time) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* stream = stream_of(cu, 1);
        void* work = kernel(cu, "work_200ms");
        void* start = event_of(cu);
        void* middle = event_of(cu);
        void* end = event_of(cu);
        const double begin = now_ms();
        IS(cu("cuEventRecord", start, stream), 0);
        IS(launch(cu, work, stream), 0);
        IS(cu("cuEventRecord", middle, stream), 0);
        IS(launch(cu, work, stream), 0);
        IS(launch(cu, work, stream), 0);
        IS(cu("cuEventRecord", end, stream), 0);
        WITHIN(now_ms() - begin, 0.0, 590.0);
        IS(cu("cuStreamQuery", stream), 600);
        IS(cu("cuEventQuery", end), 600);
        float ms = 0;
        IS(cu("cuEventElapsedTime", &ms, start, end), 600);
        IS(cu("cuEventSynchronize", middle), 0);
        WITHIN(now_ms() - begin, 199.0, kSlow);
        IS(cu("cuStreamSynchronize", stream), 0);
        WITHIN(now_ms() - begin, 599.0, kSlow);
        IS(cu("cuEventQuery", end), 0);
        IS(cu("cuEventElapsedTime", &ms, middle, end), 0);
        WITHIN(ms, 399.9F, 550.0F);
        void* untimed = event_of(cu, 2);
        IS(cu("cuEventRecord", untimed, stream), 0);
        IS(cu("cuEventElapsedTime", &ms, untimed, end), 400);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimStreams, a_kernel_alone_in_its_stream_shares_the_card_with_others) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* work = kernel(cu, "work_300ms");
        void* streams[2] = {stream_of(cu, 1), stream_of(cu, 1)};
        double begin = now_ms();
        for (void* stream : streams) IS(launch(cu, work, stream, 20), 0);  // half the card each
        IS(cu("cuCtxSynchronize"), 0);
        WITHIN(now_ms() - begin, 299.0, 550.0);
        begin = now_ms();
        for (void* stream : streams) IS(launch(cu, work, stream, 40), 0);
        IS(cu("cuCtxSynchronize"), 0);
        WITHIN(now_ms() - begin, 599.0, kSlow);
        IS(cu("cuStreamDestroy_v2", streams[0]), 0);
        IS(cu("cuStreamQuery", streams[0]), 400);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimStreams, the_legacy_stream_is_ordered_with_blocking_ones_only) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* work = kernel(cu, "work_500ms");
        void* quick = kernel(cu, "quick_1us");
        void* blocking = stream_of(cu, 0);
        void* free_running = stream_of(cu, 1);
        IS(launch(cu, work, blocking, 10), 0);
        IS(launch(cu, quick, nullptr, 1), 0);
        IS(launch(cu, quick, free_running, 1), 0);
        IS(launch(cu, quick, nullptr, 1, "cuLaunchKernel_ptsz"), 0);
        const double begin = now_ms();
        IS(cu("cuStreamSynchronize", free_running), 0);
        IS(cu("cuStreamQuery", blocking), 600);
        const auto null = static_cast<void*>(nullptr);
        IS(cu("cuStreamQuery", null), 600);
        // The thread's stream is a blocking one: behind the legacy stream, which is behind `work`.
        IS(cu("cuStreamQuery_ptsz", null), 600);
        IS(cu("cuStreamSynchronize", null), 0);
        WITHIN(now_ms() - begin, 300.0, kSlow);
        IS(cu("cuStreamQuery", blocking), 0);
        IS(cu("cuStreamQuery_ptsz", reinterpret_cast<void*>(CU_STREAM_LEGACY)), 0);
        // Other threads have other streams.
        unsigned long long mine = 0;
        unsigned long long other = 0;
        unsigned long long legacy = 0;
        void* context = nullptr;
        IS(cu("cuCtxGetCurrent", &context), 0);
        IS(cu("cuStreamGetId_ptsz", null, &mine), 0);
        IS(cu("cuStreamGetId", null, &legacy), 0);
        std::thread([&] {
            cu("cuCtxSetCurrent", context);
            cu("cuStreamGetId_ptsz", null, &other);
        }).join();
        IS(mine != other && mine != legacy && other != legacy, true);
    });
    EXPECT_EQ(child.finish(), "");
}

struct Steps {
    std::atomic<int> count{0};
    int seen[8] = {};
};

TEST_F(SimStreams, events_host_functions_and_copies_keep_their_order) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* work = kernel(cu, "work_100ms");
        void* first = stream_of(cu, 1);
        void* second = stream_of(cu, 1);
        void* event = event_of(cu, 2);
        static Steps steps;
        void (*step)(void*) = [](void* data) {
            steps.seen[steps.count] = static_cast<int>(reinterpret_cast<std::intptr_t>(data));
            ++steps.count;
        };
        CUdeviceptr memory = 0;
        int* host = nullptr;
        IS(cu("cuMemAlloc_v2", &memory, std::size_t{4}), 0);
        IS(cu("cuMemHostAlloc", reinterpret_cast<void**>(&host), std::size_t{4}, 0U), 0);
        IS(cu("cuMemsetD32_v2", memory, 1U, std::size_t{1}), 0);
        IS(launch(cu, work, first), 0);
        IS(cu("cuLaunchHostFunc", first, step, reinterpret_cast<void*>(1)), 0);
        IS(cu("cuMemsetD32Async", memory, 7U, std::size_t{1}, first), 0);
        IS(cu("cuEventRecord", event, first), 0);
        IS(cu("cuStreamWaitEvent", second, event, 0U), 0);
        IS(cu("cuMemcpyDtoHAsync_v2", static_cast<void*>(host), memory, std::size_t{4}, second), 0);
        IS(cu("cuLaunchHostFunc", second, step, reinterpret_cast<void*>(2)), 0);
        IS(*host, 0);
        IS(steps.count.load(), 0);
        IS(cu("cuEventDestroy_v2", event), 0);  // still waited for
        IS(cu("cuStreamSynchronize", second), 0);
        IS(*host, 7);
        IS(steps.count.load(), 2);
        IS(steps.seen[0], 1);
        IS(steps.seen[1], 2);
        // Nobody asks: it happens all the same.
        IS(launch(cu, work, first), 0);
        IS(cu("cuLaunchHostFunc", first, step, reinterpret_cast<void*>(3)), 0);
        IS(cu("cuStreamDestroy_v2", first), 0);
        const double begin = now_ms();
        while (steps.count < 3 && now_ms() - begin < 5000) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        IS(steps.seen[2], 3);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimStreams, a_long_queue_makes_launches_wait) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* work = kernel(cu, "work_100us");
        void* stream = stream_of(cu, 1);
        const double begin = now_ms();
        for (int i = 0; i < 2000; ++i) IS(launch(cu, work, stream), 0);
        WITHIN(now_ms() - begin, 85.0, kSlow);
        IS(cu("cuStreamSynchronize", stream), 0);
        WITHIN(now_ms() - begin, 199.0, kSlow);
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimStreams, kernels_by_parameter_and_shapes_refused) {
    Child child([](Report& report) {
        const Library cu = cuda_with_context();
        void* spin = kernel(cu, "spin_ns");
        std::uint64_t ns = 10'000'000;
        void* parameters[] = {&ns};
        const auto null = static_cast<void*>(nullptr);
        const auto run = [&](unsigned blocks, unsigned threads, const char* name = "cuLaunchKernel"
                         ) {
            return cu(
                name,
                spin,
                blocks,
                1U,
                1U,
                threads,
                1U,
                1U,
                0U,
                null,
                static_cast<void**>(parameters),
                static_cast<void**>(nullptr)
            );
        };
        double begin = now_ms();
        IS(run(40, 1024), 0);
        IS(cu("cuCtxSynchronize"), 0);
        WITHIN(now_ms() - begin, 9.9, kSlow);
        begin = now_ms();
        IS(run(41, 1024), 0);  // does not fit at once
        IS(cu("cuCtxSynchronize"), 0);
        WITHIN(now_ms() - begin, 19.9, kSlow);
        IS(run(0, 1), 1);
        IS(run(1, 1025), 1);
        IS(run(41, 1024, "cuLaunchCooperativeKernel"), 720);
        IS(run(40, 1024, "cuLaunchCooperativeKernel"), 0);
        void* module = nullptr;
        void* function = nullptr;
        const char* ptx =
            ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry here(\n)\n{ret;}\n";
        IS(cu("cuModuleLoadData", &module, static_cast<const void*>(ptx)), 0);
        IS(cu("cuModuleGetFunction", &function, module, "here"), 0);
        IS(cu("cuModuleGetFunction", &function, module, "her"), 500);
        IS(cu("cuModuleUnload", module), 0);
        IS(cu("cuModuleGetFunction", &function, module, "here"), 400);
        CUlaunchConfig config{};
        config.gridDimX = config.gridDimY = config.gridDimZ = 1;
        config.blockDimX = config.blockDimY = config.blockDimZ = 1;
        IS(cu("cuLaunchKernelEx",
              static_cast<const CUlaunchConfig*>(&config),
              spin,
              static_cast<void**>(parameters),
              static_cast<void**>(nullptr)),
           0);
        IS(cu("cuLaunchGrid", spin, 2, 2), 0);
        IS(cu("cuCtxSynchronize"), 0);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
