#include "gpu/driver_thread.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>

#include <gtest/gtest.h>

namespace egpu::gpu {
namespace {

using namespace std::chrono_literals;

// What a body shares with its owner.
struct Shared {
    DriverThread thread;
    std::promise<void> go_on;
    std::atomic<int> told = 0;
};

TEST(DriverThread, StopWaitsForABodyThatEnds) {
    const auto shared = std::make_shared<Shared>();
    std::atomic<bool> ended = false;
    shared->thread.start([shared, &ended] {
        shared->go_on.get_future().wait();
        std::this_thread::sleep_for(50ms);
        ended = true;
    });
    shared->go_on.set_value();
    shared->thread.stop(10s);
    EXPECT_TRUE(ended);
    shared->thread.stop(10s);
}

TEST(DriverThread, StopWithoutStartIsNothing) {
    DriverThread thread;
    const TimePoint begin = MonoClock::now();
    thread.stop(10s);
    EXPECT_LT(MonoClock::now() - begin, 5s);
}

TEST(DriverThread, ABodyThatHangsIsLeftBehindAndTellsNothingMore) {
    auto shared = std::make_shared<Shared>();
    std::promise<void> told;
    shared->thread.start([shared, &told] {
        shared->thread.tell([&] { ++shared->told; });
        told.set_value();
        shared->go_on.get_future().wait();
        shared->thread.tell([&] { ++shared->told; });
    });
    told.get_future().wait();
    const TimePoint begin = MonoClock::now();
    shared->thread.stop(50ms);
    EXPECT_LT(MonoClock::now() - begin, 5s);

    shared->go_on.set_value();
    const auto ended = [&] { return shared.use_count() == 1; };
    for (int i = 0; i < 1000 && !ended(); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(ended()) << "the thread keeps what it uses until it ends, no longer";
    EXPECT_EQ(shared->told, 1);
}

TEST(DriverThread, StopWaitsForTheCallbackThatRuns) {
    const auto shared = std::make_shared<Shared>();
    std::promise<void> inside;
    std::atomic<bool> returned = false;
    shared->thread.start([&, shared] {
        shared->thread.tell([&] {
            inside.set_value();
            std::this_thread::sleep_for(100ms);
            returned = true;
        });
    });
    inside.get_future().wait();
    shared->thread.stop(0s);
    EXPECT_TRUE(returned);
}

}  // namespace
}  // namespace egpu::gpu
