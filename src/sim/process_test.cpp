#include "sim/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/files.h"
#include "testing/temp_folder.h"

namespace egpu::sim {
namespace {

class ProcessTest : public ::testing::Test {
  protected:
    ProcessOptions shell(const std::string& script) {
        ProcessOptions options;
        options.executable = "/bin/sh";
        options.arguments = {"-c", script};
        options.log_file = folder_ / "log";
        return options;
    }
    std::string log() {
        auto text = read_file(folder_ / "log");
        return text ? *text : "";
    }

    testing::TempFolder folder_;
};

TEST_F(ProcessTest, ArgumentsEnvironmentLogAndStatus) {
    ProcessOptions options = shell("echo \"$HELLO\"; echo oops >&2; exit 7");
    options.environment["HELLO"] = "world";
    auto process = Process::start(std::move(options));
    ASSERT_TRUE(process.ok()) << process.error().message;
    auto status = process->wait(Seconds(10));
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(*status, 7);
    EXPECT_EQ(log(), "world\noops\n");
    EXPECT_FALSE(process->running());
}

TEST_F(ProcessTest, AMissingProgramIsAnErrorThatNamesIt) {
    ProcessOptions options;
    options.executable = folder_ / "nothing";
    auto process = Process::start(std::move(options));
    ASSERT_FALSE(process.ok());
    EXPECT_EQ(process.error().code, ErrorCode::kNotFound);
    EXPECT_NE(process.error().message.find("nothing"), std::string::npos);
}

TEST_F(ProcessTest, WaitHasADeadlineAndStopEscalates) {
    auto process = Process::start(shell("trap '' TERM; echo up; while :; do sleep 0.05; done"));
    ASSERT_TRUE(process.ok());
    EXPECT_EQ(process->wait(Millis(50)).error().code, ErrorCode::kDeadline);
    while (log().empty()) ::usleep(1000);
    auto status = process->stop(Millis(100));
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(*status, 128 + SIGKILL);
}

TEST_F(ProcessTest, RestartKeepsTheOptions) {
    auto process = Process::start(shell("echo run; sleep 60"));
    ASSERT_TRUE(process.ok());
    while (log() != "run\n") ::usleep(1000);
    const pid_t first = process->pid();
    ASSERT_TRUE(process->restart().ok());
    EXPECT_NE(process->pid(), first);
    while (log() != "run\nrun\n") ::usleep(1000);
    process->kill();
    EXPECT_FALSE(process->running());
}

TEST_F(ProcessTest, ChildrenDoNotInheritDescriptorsOrBlockedSignals) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);  // without O_CLOEXEC
    sigset_t set;
    sigset_t before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    // The mask of grep, not of the shell: dash blocks signals while it forks.
    auto process = Process::start(shell("ls -l /proc/$$/fd; grep SigBlk /proc/self/status"));
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ASSERT_TRUE(process.ok());
    ASSERT_TRUE(process->wait(Seconds(10)).ok());
    ::close(ends[0]);
    ::close(ends[1]);
    EXPECT_EQ(log().find("pipe:"), std::string::npos) << log();
    EXPECT_NE(log().find("SigBlk:\t0000000000000000\n"), std::string::npos) << log();
}

TEST_F(ProcessTest, DestructionKills) {
    pid_t pid = -1;
    {
        auto process = Process::start(shell("sleep 60"));
        ASSERT_TRUE(process.ok());
        pid = process->pid();
    }
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(ProcessTest, TailOf) {
    ASSERT_TRUE(write_file_atomically(folder_ / "t", "1\n2\n3\n4\n").ok());
    EXPECT_EQ(tail_of(folder_ / "t", 2), "3\n4\n");
    EXPECT_EQ(tail_of(folder_ / "t", 9), "1\n2\n3\n4\n");
    EXPECT_EQ(tail_of(folder_ / "missing", 2), "");
}

}  // namespace
}  // namespace egpu::sim
