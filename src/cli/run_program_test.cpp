#include "cli/run_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

using ::testing::HasSubstr;

TEST(RunProgram, OutputAndStatus) {
    const auto ran = run_program(
        {"sh", "-c", "echo out; echo err >&2; echo $EXTRA; exit 3"}, Seconds(20), {{"EXTRA", "x y"}}
    );
    ASSERT_TRUE(ran) << ran.error().message;
    EXPECT_EQ(ran->exit_status, 3);
    EXPECT_EQ(ran->output, "out\nerr\nx y\n");
    const auto killed = run_program({"sh", "-c", "kill -9 $$"}, Seconds(20));
    ASSERT_TRUE(killed);
    EXPECT_EQ(killed->exit_status, 137);
}

TEST(RunProgram, AMissingProgramIsNamed) {
    const auto ran = run_program({"no-such-program"}, Seconds(20));
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(ran.error().message, HasSubstr("no-such-program"));
}

TEST(RunProgram, TheDeadlineEndsItAndItsChildren) {
    const TimePoint begin = MonoClock::now();
    const auto ran = run_program({"sh", "-c", "sleep 60 & sleep 60"}, Millis(200));
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, ErrorCode::kDeadline);
    EXPECT_LT(MonoClock::now() - begin, Seconds(30));
}

TEST(RunProgram, AGrandchildThatHoldsTheOutputIsNotWaitedFor) {
    const TimePoint begin = MonoClock::now();
    const auto ran = run_program({"sh", "-c", "sleep 30 & echo started $!"}, Seconds(60));
    ASSERT_TRUE(ran);
    EXPECT_THAT(ran->output, HasSubstr("started"));
    EXPECT_LT(MonoClock::now() - begin, Seconds(20));
    ASSERT_TRUE(run_program({"kill", ran->output.substr(8, ran->output.size() - 9)}, Seconds(20)));
}

TEST(RunProgram, MuchOutputIsCutAndStillRead) {
    const auto ran = run_program(
        {"sh",
         "-c",
         "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; "
         "i=$((i+1)); done"},
        Seconds(60)
    );
    ASSERT_TRUE(ran);
    EXPECT_EQ(ran->exit_status, 0);
    EXPECT_GE(ran->output.size(), 256U << 10);
    EXPECT_LT(ran->output.size(), 300U << 10);
}

}  // namespace
}  // namespace egpu::cli
