#include "base/stop.h"

#include <thread>

#include <gtest/gtest.h>
#include <poll.h>

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

}  // namespace
}  // namespace egpu
