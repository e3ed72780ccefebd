// Real threads on shared and own streams; for ThreadSanitizer, which knows no fibers.
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "guard/compute/controller.h"

namespace egpu::guard {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST(ControllerThreads, MayLaunchAtOnce) {
    static std::atomic<std::uint64_t> clock{0};
    clock = 1'000 * kSecond;
    ComputeBucket bucket{};
    ComputeCounters counters{};
    std::atomic<std::uint32_t> seq{1};
    const Platform platform{
        .self = nullptr,
        .now_ns = [](void*) { return clock.fetch_add(2'000); },
        .sleep_ns = [](void*, std::uint64_t ns) { clock.fetch_add(ns); },
        .load_policy =
            [](void*, ComputePolicy* out) {
                out->mode = ComputeMode::kHard;
                out->share_ppm = 500'000;
            },
        .context = [](void*) -> void* { return &clock; },
        .event_create = [](void*) -> EventHandle { return new std::atomic<std::uint64_t>(0); },
        .event_destroy = [](void*, EventHandle event
                         ) { delete static_cast<std::atomic<std::uint64_t>*>(event); },
        .event_record =
            [](void*, EventHandle event, void*) {
                *static_cast<std::atomic<std::uint64_t>*>(event) = clock.load();
                return true;
            },
        .event_query = [](void*, EventHandle) { return EventState::kReady; },
        .event_span =
            [](void*, EventHandle start, EventHandle end, std::int64_t* span) {
                *span = static_cast<std::int64_t>(
                    *static_cast<std::atomic<std::uint64_t>*>(end) -
                    *static_cast<std::atomic<std::uint64_t>*>(start)
                );
                return true;
            },
        .capturing = [](void*, void*) { return false; },
    };
    const auto controller = std::make_unique<CardController>();
    controller->attach(&platform, &bucket, &counters, &seq);
    constexpr int kThreads = 4;
    constexpr int kLaunches = 20'000;
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            ThreadState state{};
            state.id = t + 1;
            for (std::uint32_t i = 0; i < kLaunches; ++i) {
                Launch launch{
                    .function = &bucket,
                    .stream = reinterpret_cast<void*>(std::uintptr_t{i % 3 == 0 ? 1U : 4'096 + t})};
                launch.grid[0] = 1 + i % 9;
                if (controller->before_launch(state, launch))
                    controller->after_launch(state, launch, i % 100 != 0);
                if (i % 1'000 == 999) controller->forget(&bucket);
                if (i % 5'000 == 4'999) seq.fetch_add(2);
                if (i % 500 == 499) controller->poll();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(counters.launches, kThreads * kLaunches / 2U);
    EXPECT_LE(counters.launches, kThreads * kLaunches + 0U);
    controller->release_events();
}

}  // namespace
}  // namespace egpu::guard
