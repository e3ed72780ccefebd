#include "base/stop.h"

#include <thread>

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace egpu {
namespace {

TEST(Stop, WakesEveryWaiter) {
    StopSource source;
    const StopToken token = source.token();
    EXPECT_FALSE(token.wait_for(Millis(1)));
    std::thread waiter([token] { EXPECT_TRUE(token.wait_for(Seconds(60))); });
    source.request();
    source.request();
    waiter.join();
    pollfd entry{token.fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&entry, 1, 0), 1);
    EXPECT_TRUE(source.token().stopped());
}

// In a child: the signals of a test program are everybody's.
TEST(StopDeathTest, TwoSignalsAtOnceAreOneWishAndALaterOneEndsTheProcess) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(
        {
            const StopToken stop = stop_on_signals();
            ::kill(::getpid(), SIGTERM);
            if (!stop.wait_for(Seconds(30))) ::_exit(1);
            ::kill(::getpid(), SIGTERM);
            std::this_thread::sleep_for(Millis(1100));
            ::kill(::getpid(), SIGINT);
            std::this_thread::sleep_for(Seconds(30));
            ::_exit(2);
        },
        ::testing::ExitedWithCode(130),
        ""
    );
    EXPECT_EXIT(
        {
            const StopToken stop = stop_on_signals();
            ::kill(::getpid(), SIGTERM);
            if (!stop.wait_for(Seconds(30))) ::_exit(1);
            ::kill(::getpid(), SIGTERM);
            std::this_thread::sleep_for(Millis(200));
            ::_exit(0);
        },
        ::testing::ExitedWithCode(0),
        ""
    );
}

}  // namespace
}  // namespace egpu
