#include "flags/environment.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace egpu::flags {
namespace {

TEST(Environment, OfTheProcess) {
    ASSERT_EQ(::setenv("EDGE_GPU_FLAGS_TEST", "a=b", 1), 0);
    const Environment environment = process_environment();
    EXPECT_EQ(value_of(environment, "EDGE_GPU_FLAGS_TEST"), "a=b");
    EXPECT_EQ(value_of(environment, "EDGE_GPU_FLAGS_TEST_NOT_SET"), "");
    ASSERT_EQ(::unsetenv("EDGE_GPU_FLAGS_TEST"), 0);
    EXPECT_FALSE(process_environment().contains("EDGE_GPU_FLAGS_TEST"));
}

}  // namespace
}  // namespace egpu::flags
