#include "isolation/end_process.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace egpu::isolation {
namespace {

pid_t child() {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::pause();
        ::_exit(0);
    }
    return pid;
}

TEST(EndProcess, EndsItWhenItIsStillIt) {
    const pid_t pid = child();
    EXPECT_EQ(
        end_process(static_cast<unsigned>(pid), [] { return false; }).error().code,
        ErrorCode::kConflict
    );
    ASSERT_EQ(::kill(pid, 0), 0);
    EXPECT_TRUE(end_process(static_cast<unsigned>(pid), [] { return true; }));
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_EQ(
        end_process(static_cast<unsigned>(pid), [] { return true; }).error().code,
        ErrorCode::kNotFound
    );
}

TEST(EndProcess, NeverTheFirstOrItself) {
    for (const unsigned pid : {0U, 1U, static_cast<unsigned>(::getpid())}) {
        EXPECT_EQ(end_process(pid, [] { return true; }).error().code, ErrorCode::kConflict);
    }
}

TEST(EndProcess, OneThatEndsWhileItIsAskedForIsGone) {
    const pid_t pid = child();
    const Status ended = end_process(static_cast<unsigned>(pid), [&] {
        ::kill(pid, SIGKILL);
        int status = 0;
        ::waitpid(pid, &status, 0);
        return true;
    });
    EXPECT_EQ(ended.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace egpu::isolation
