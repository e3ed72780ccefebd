// What every command shares: help, unknown names, and output that cannot be written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "command.h"

namespace egpu::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CommandResult run(const std::vector<std::string>& arguments) {
    auto done = run_command(edge_gpu(), arguments, {}, Seconds(60));
    EXPECT_TRUE(done.ok()) << done.error().message;
    return done ? *done : CommandResult{};
}

TEST(UsageTest, HelpOfACommandIsTheCommandsHelp) {
    const CommandResult general = run({"help"});
    EXPECT_EQ(general.status, 0);
    EXPECT_THAT(general.output, HasSubstr("scheduler-config"));
    const CommandResult one = run({"help", "agent"});
    EXPECT_EQ(one.status, 0);
    EXPECT_EQ(one.output, run({"agent", "--help"}).output);
    EXPECT_THAT(one.output, HasSubstr("--node-name"));
    EXPECT_EQ(run({"help", "agnet"}).status, 2);
}

TEST(UsageTest, WhatIsNotKnownIsNamed) {
    const CommandResult unknown = run({"agnet"});
    EXPECT_EQ(unknown.status, 2);
    EXPECT_THAT(unknown.output, HasSubstr("unknown command \"agnet\""));
    EXPECT_EQ(run({"version", "1"}).status, 2);
    EXPECT_EQ(run({"version"}).status, 0);
}

TEST(UsageTest, OutputThatCannotBeWrittenIsAnError) {
    const std::string script = "\"$0\" scheduler-config --kubernetes 1.34 >/dev/full";
    auto done = run_command("/bin/sh", {"-c", script, edge_gpu().string()}, {}, Seconds(60));
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(done->status, 1);
    EXPECT_THAT(done->output, HasSubstr("standard output cannot be written"));
}

TEST(UsageTest, FilesThatAreNotThereAreNamedWithTheirFlag) {
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"snapshot", "--kubeconfig", "/nowhere/config"},
             {"describe", "cluster", "--kubeconfig", "/nowhere/config"},
             {"scheduler", "--kubeconfig", "/nowhere/config", "--listen", "127.0.0.1:0"}}) {
        const CommandResult done = run(arguments);
        EXPECT_THAT(done.output, HasSubstr("--kubeconfig: open /nowhere/config: No such file"));
        EXPECT_NE(done.status, 0);
    }
    EXPECT_THAT(
        run({"describe", "cluster", "--snapshot", "/nowhere/s.json"}).output,
        HasSubstr("--snapshot: open /nowhere/s.json")
    );
}

TEST(UsageTest, CdiSaysWhichOfItsCommandsThereAreAndThatNothingWasFound) {
    const CommandResult bare = run({"cdi"});
    EXPECT_EQ(bare.status, 2);
    EXPECT_THAT(bare.output, HasSubstr("generate, list or validate is missing"));
    EXPECT_THAT(run({"cdi", "validate"}).output, Not(HasSubstr("generate, list")));
    EXPECT_THAT(
        run({"cdi", "list", "--spec-dir", "/nowhere"}).output,
        HasSubstr("no CDI specification in /nowhere")
    );
}

}  // namespace
}  // namespace egpu::e2e
