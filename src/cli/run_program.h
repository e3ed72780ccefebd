// Runs another program to its end. Thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::cli {

struct Ran {
    int exit_status = 0;  // 128 + signal when it was killed by one
    std::string output;   // standard output and standard error, its first 256 KiB
};

// `command` is the program (found in PATH when it has no slash) and its arguments; `added` goes
// into its environment beside ours. kDeadline when it has not ended in time: it and its children
// are killed.
Result<Ran> run_program(
    const std::vector<std::string>& command,
    Duration deadline,
    const std::vector<std::pair<std::string, std::string>>& added = {}
);

}  // namespace egpu::cli
