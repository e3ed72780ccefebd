// What the controller adds to a launch: the fast path with its share of slow paths, on a platform
// that costs nothing, with 1 and 2 threads. Budget: DESIGN section 9.
#include <atomic>
#include <memory>

#include <benchmark/benchmark.h>
#include <time.h>

#include "guard/compute/controller.h"

namespace egpu::guard {
namespace {

// Kernels of 1 us on a card that keeps pace: time and events follow the launches of the thread, so
// that the slow path comes every 500 launches as it would on a card, and nobody runs out of tokens.
constexpr std::uint64_t kKernelNs = 1'000;

ComputePolicy policy;
thread_local std::uint64_t launched = 0;
thread_local std::uint64_t events[256];
thread_local std::size_t next_event = 0;

Platform platform() {
    return {
        .self = nullptr,
        .now_ns =
            [](void*) {
                timespec now{};
                clock_gettime(CLOCK_MONOTONIC, &now);
                benchmark::DoNotOptimize(now);
                return 1'000'000'000'000 + launched * kKernelNs;
            },
        .sleep_ns = [](void*, std::uint64_t ns) { launched += ns / kKernelNs; },
        .load_policy = [](void*, ComputePolicy* out) { *out = policy; },
        .context = [](void*) -> void* { return &launched; },
        .event_create = [](void*) -> EventHandle { return &events[next_event++ % 256]; },
        .event_destroy = [](void*, EventHandle) {},
        .event_record =
            [](void*, EventHandle event, void*) {
                *static_cast<std::uint64_t*>(event) = launched * kKernelNs;
                return true;
            },
        .event_query = [](void*, EventHandle) { return EventState::kReady; },
        .event_span =
            [](void*, EventHandle start, EventHandle end, std::int64_t* span) {
                *span = static_cast<std::int64_t>(*static_cast<std::uint64_t*>(end)) -
                        static_cast<std::int64_t>(*static_cast<std::uint64_t*>(start));
                return true;
            },
        .capturing = [](void*, void*) { return false; },
    };
}

struct Rig {
    Platform world = platform();
    ComputeBucket bucket{};
    ComputeCounters counters{};
    std::atomic<std::uint32_t> seq{2};
    std::unique_ptr<CardController> controller = std::make_unique<CardController>();
    Rig() { controller->attach(&world, &bucket, &counters, &seq); }
};

std::unique_ptr<Rig> rig;

// `shapes` different shapes in turn on each thread's own stream; never out of tokens.
void launches(benchmark::State& state, ComputeMode mode, std::uint32_t shapes) {
    if (state.thread_index() == 0) {
        policy = ComputePolicy{};
        policy.mode = mode;
        policy.share_ppm = kWholePpm;
        policy.rate_ppm = 2 * kWholePpm;
        policy.contention_ppm = kWholePpm;
        rig = std::make_unique<Rig>();
    }
    ThreadState thread{};
    thread.id = static_cast<std::uint32_t>(state.thread_index() + 1);
    Launch launch{
        .function = &policy,
        .stream = reinterpret_cast<void*>(std::uintptr_t(state.thread_index()) * 64 + 4'096)};
    launch.block[0] = 256;
    std::uint32_t i = 0;
    for (auto _ : state) {
        launch.grid[0] = 132 + i++ % shapes;
        const bool after = rig->controller->before_launch(thread, launch);
        ++launched;
        if (after) rig->controller->after_launch(thread, launch, true);
        benchmark::DoNotOptimize(thread.credit_ns);
    }
    if (state.thread_index() == 0) {
        state.counters["charged"] = static_cast<double>(rig->counters.launches.load());
    }
}

void BM_Off(benchmark::State& state) {
    launches(state, ComputeMode::kOff, 1);
}
void BM_OneShape(benchmark::State& state) {
    launches(state, ComputeMode::kSoft, 1);
}
void BM_FourShapes(benchmark::State& state) {
    launches(state, ComputeMode::kSoft, 4);
}
void BM_FiftyShapes(benchmark::State& state) {
    launches(state, ComputeMode::kSoft, 50);
}
BENCHMARK(BM_Off)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_OneShape)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_FourShapes)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_FiftyShapes)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace egpu::guard
