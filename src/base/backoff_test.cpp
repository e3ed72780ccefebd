#include "base/backoff.h"

#include <gtest/gtest.h>

namespace egpu {
namespace {

TEST(Backoff, GrowsToTheLimitWithJitterAndStartsOverAfterReset) {
    Backoff backoff(Millis(100), Millis(800), 7);
    Duration upper = Millis(100);
    for (int i = 0; i < 8; ++i) {
        const Duration delay = backoff.next();
        EXPECT_GE(delay, upper / 2);
        EXPECT_LE(delay, upper);
        upper = std::min<Duration>(upper * 2, Millis(800));
    }
    backoff.reset();
    EXPECT_LE(backoff.next(), Millis(100));
}

}  // namespace
}  // namespace egpu
