// For the end-to-end tests: runs a program to its end and keeps what it printed; finds programs and
// what a run left behind.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::e2e {

// The executable under test: the one built with the tests, or $EDGE_GPU_BINARY.
std::filesystem::path edge_gpu();

struct CommandResult {
    int status = -1;
    std::string output;  // stdout and stderr together
};

// kDeadline: it was killed; the message has what it printed so far.
Result<CommandResult> run_command(
    const std::filesystem::path& program,
    const std::vector<std::string>& arguments,
    const std::map<std::string, std::string>& environment,
    Duration deadline
);

// The first executable file of that name in $PATH, or "".
std::filesystem::path find_program(const std::string& name);

// Processes (pid and command line) with `text` in their command line or environment.
std::vector<std::string> processes_with(const std::string& text);

// A folder for one test, removed at its end.
class ScratchFolder {
  public:
    ScratchFolder();
    ~ScratchFolder();
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }
    std::vector<std::string> entries() const;

  private:
    std::filesystem::path path_;
};

}  // namespace egpu::e2e
