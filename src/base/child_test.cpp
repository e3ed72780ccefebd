#include "base/child.h"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace egpu {
namespace {

using ::testing::HasSubstr;

ChildOptions within(Duration limit) {
    ChildOptions options;
    options.limit = limit;
    return options;
}

TEST(RunProgram, gives_output_and_exit_status) {
    const auto result =
        run_program({"/bin/sh", "-c", "echo out; echo err >&2; exit 7"}, within(Seconds(20)));
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(result->exit_status, 7);
    EXPECT_EQ(result->output, "out\nerr\n");
    EXPECT_FALSE(result->timed_out);
}

TEST(RunProgram, says_why_it_cannot_start) {
    const auto result = run_program({"/nowhere/program"}, within(Seconds(20)));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(result.error().message, HasSubstr("/nowhere/program"));
}

TEST(RunProgram, ends_at_the_limit_with_its_children) {
    const TimePoint start = MonoClock::now();
    const auto result =
        run_program({"/bin/sh", "-c", "echo first; sleep 600 & sleep 600"}, within(Millis(300)));
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(result->timed_out);
    EXPECT_EQ(result->output, "first\n");
    EXPECT_LT(MonoClock::now() - start, Seconds(60));
}

TEST(RunProgram, keeps_a_part_of_what_a_chatty_program_writes) {
    ChildOptions options = within(Seconds(60));
    options.most_output = 1000;
    const auto result =
        run_program({"/bin/sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"}, options);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->exit_status, 0);
    EXPECT_EQ(result->output.size(), 1000U);
}

TEST(RunFunction, survives_what_kills_the_child) {
    const auto killed = run_function([](int) { return ::raise(SIGKILL); }, within(Seconds(20)));
    ASSERT_TRUE(killed.ok());
    EXPECT_EQ(killed->signal, SIGKILL);
    const auto closed_early = run_function(
        [](int output) {
            ::close(output);
            ::pause();
            return 0;
        },
        within(Millis(300))
    );
    ASSERT_TRUE(closed_early.ok());
    EXPECT_TRUE(closed_early->timed_out);
}

}  // namespace
}  // namespace egpu
