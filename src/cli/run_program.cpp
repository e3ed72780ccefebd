#include "cli/run_program.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace egpu::cli {
namespace {

constexpr std::size_t kMostOutput = 256U << 10;
constexpr int kTickMs = 20;

std::vector<std::string> environment_with(
    const std::vector<std::pair<std::string, std::string>>& added
) {
    std::vector<std::string> out;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const std::string_view name = text.substr(0, text.find('='));
        const bool replaced = std::any_of(added.begin(), added.end(), [&](const auto& one) {
            return one.first == name;
        });
        if (!replaced) out.emplace_back(text);
    }
    for (const auto& [name, value] : added) out.push_back(name + "=" + value);
    return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (std::string& text : strings) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

// The child with its own process group, default signals, no input, and its output in `write_end`.
Result<pid_t> spawn(
    std::vector<std::string> command, std::vector<std::string> environment, int write_end
) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, write_end, 1);
    posix_spawn_file_actions_adddup2(&actions, write_end, 2);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
    );
    pid_t pid = -1;
    const std::vector<char*> argv = pointers(command);
    const std::vector<char*> envp = pointers(environment);
    const int failure =
        ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failure != 0) return errno_error("run " + command.front(), failure);
    return pid;
}

// Reads what is there; false at the end of the output.
bool drain(int fd, std::string& output) {
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (output.size() < kMostOutput) output.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
}

}  // namespace

Result<Ran> run_program(
    const std::vector<std::string>& command,
    Duration deadline,
    const std::vector<std::pair<std::string, std::string>>& added
) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    const Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    EG_TRY(const pid_t pid, spawn(command, environment_with(added), write_end.get()));
    write_end.reset();

    Ran ran;
    int status = 0;
    bool open = true;
    const TimePoint until = MonoClock::now() + deadline;
    for (;;) {
        pollfd waiting{read_end.get(), POLLIN, 0};
        ::poll(&waiting, open ? 1 : 0, kTickMs);
        if (open && waiting.revents != 0) {
            open = drain(read_end.get(), ran.output);
            if (open) continue;
        }
        // A grandchild may hold the output open: the program's own end counts.
        if (::waitpid(pid, &status, WNOHANG) == pid) break;
        if (MonoClock::now() < until) continue;
        ::kill(-pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        return Error{
            ErrorCode::kDeadline,
            command.front() + " has not ended within " +
                std::to_string(std::chrono::duration_cast<Seconds>(deadline).count()) + " s"};
    }
    while (open && ran.output.size() < kMostOutput) {
        pollfd waiting{read_end.get(), POLLIN, 0};
        if (::poll(&waiting, 1, 0) <= 0) break;
        open = drain(read_end.get(), ran.output);
    }
    ran.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return ran;
}

}  // namespace egpu::cli
