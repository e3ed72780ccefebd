// One child process with its own log file, for the simulated cluster and the end-to-end tests.
//
// The child gets its own process group (a Ctrl-C in the terminal reaches the parent only, which
// stops its children in order), an empty signal mask, no descriptor beside 0..2, and dies with its
// parent: PR_SET_PDEATHSIG is tied to the *thread* that started it, so start children from a thread
// that outlives them. Thread-compatible.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::sim {

struct ProcessOptions {
    std::filesystem::path executable;
    std::vector<std::string> arguments;              // without argv[0]
    std::map<std::string, std::string> environment;  // added to (or replacing) the parent's
    std::filesystem::path log_file;                  // stdout and stderr, appended; "" = /dev/null
};

class Process {
  public:
    // kNotFound and the like name the executable: exec's own failure is reported, too.
    static Result<Process> start(ProcessOptions options);

    Process() = default;
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() { kill(); }

    pid_t pid() const { return pid_; }
    bool running();
    const ProcessOptions& options() const { return options_; }

    Status signal(int number);
    // The exit status (128 + signal when killed by one), or kDeadline.
    Result<int> wait(Duration deadline);
    // SIGTERM; SIGKILL when it is still there after `grace`. The exit status as from wait().
    Result<int> stop(Duration grace);
    // SIGKILL and reap. No error when it is gone already.
    void kill();
    // Kills what is left of it and starts it again with the same options.
    Status restart();

  private:
    bool reap(bool block);

    ProcessOptions options_;
    pid_t pid_ = -1;
    int exit_status_ = -1;
};

// The path of the running program (/proc/self/exe).
Result<std::filesystem::path> self_executable();

// The last `lines` lines of a file, for error messages; "" when it cannot be read.
std::string tail_of(const std::filesystem::path& file, int lines);

}  // namespace egpu::sim
