// Work in a child process with a deadline: a program of the node, or a function that may hang or
// crash. Call from a process without other threads. A SIGINT or SIGTERM that the caller has blocked
// ends the wait early, like the deadline.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu {

struct ChildOptions {
    std::string root = "/";  // the child is chrooted there when it is not "/"
    Duration limit = Seconds(5);
    std::size_t most_output = 1U << 20;  // bytes; what comes after is dropped
    bool ignore_signals = false;         // for cleaning up: a pending SIGINT does not end the wait
    std::vector<std::string> environment;  // "NAME=value", all of it beside PATH
};

struct ChildResult {
    int exit_status = 0;  // 128 + signal when one ended it
    int signal = 0;
    bool timed_out = false;  // killed at the limit (with its process group)
    std::string output;      // standard output and standard error
};

// `argv[0]` is an absolute path inside the root. kNotFound and kPermission name the program.
Result<ChildResult> run_program(const std::vector<std::string>& argv, const ChildOptions& options);

// `work` writes its result to the descriptor it is given. The chroot is `work`'s business.
Result<ChildResult> run_function(
    const std::function<int(int output)>& work, const ChildOptions& options
);

// All of `text`; for the work of run_function.
bool write_to(int fd, std::string_view text);

}  // namespace egpu
