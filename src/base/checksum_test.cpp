#include "base/checksum.h"

#include <gtest/gtest.h>

namespace egpu {
namespace {

TEST(Checksum, KnownValues) {
    EXPECT_EQ(checksum(""), "cbf29ce484222325");
    EXPECT_EQ(checksum("a"), "af63dc4c8601ec8c");
    EXPECT_EQ(checksum("foobar"), "85944171f73967e8");
}

}  // namespace
}  // namespace egpu
