#include "sim/process.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/files.h"

extern char** environ;

namespace egpu::sim {

namespace {

struct ChildPlan {
    const char* path;
    char* const* argv;
    char* const* envp;
    int log_fd;
    int error_pipe;
    pid_t parent;
};

// Runs between fork and exec in a copy of a threaded process: async-signal-safe calls only.
[[noreturn]] void become_child(const ChildPlan& plan) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) ::_exit(127);  // the parent died before the line above
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // A shell starts background jobs with some of these ignored, which exec would hand on.
    for (const int number : {SIGPIPE, SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGCHLD}) {
        ::signal(number, SIG_DFL);
    }
    const int null_fd = ::open("/dev/null", O_RDONLY);
    ::dup2(null_fd, 0);
    ::dup2(plan.log_fd, 1);
    ::dup2(plan.log_fd, 2);
    // Every descriptor but the error pipe, which exec closes by its flag.
    const auto pipe_fd = static_cast<unsigned>(plan.error_pipe);
    if (pipe_fd > 3) ::syscall(SYS_close_range, 3U, pipe_fd - 1, 0U);
    ::syscall(SYS_close_range, pipe_fd + 1, ~0U, 0U);
    ::execve(plan.path, plan.argv, plan.envp);
    const int failure = errno;
    [[maybe_unused]] const auto n = ::write(plan.error_pipe, &failure, sizeof failure);
    ::_exit(127);
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
    std::vector<std::string> out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const std::string name(text.substr(0, text.find('=')));
        if (!added.contains(name)) out.emplace_back(text);
    }
    for (const auto& [name, value] : added) out.push_back(name + "=" + value);
    return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> out;
    out.reserve(strings.size() + 1);
    for (std::string& s : strings) out.push_back(s.data());
    out.push_back(nullptr);
    return out;
}

}  // namespace

Result<Process> Process::start(ProcessOptions options) {
    const std::string path = options.executable.string();
    const char* log_path = options.log_file.empty() ? "/dev/null" : options.log_file.c_str();
    Fd log(::open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.valid()) return errno_error(std::string("open ") + log_path, errno);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    Fd read_end(ends[0]);
    Fd write_end(ends[1]);

    std::vector<std::string> arguments{path};
    arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
    std::vector<std::string> environment = merged_environment(options.environment);
    const std::vector<char*> argv = pointers(arguments);
    const std::vector<char*> envp = pointers(environment);
    const ChildPlan plan{
        path.c_str(), argv.data(), envp.data(), log.get(), write_end.get(), ::getpid()};

    const pid_t pid = ::fork();
    if (pid < 0) return errno_error("fork", errno);
    if (pid == 0) become_child(plan);
    write_end.reset();
    int failure = 0;
    ssize_t n = 0;
    do {
        n = ::read(read_end.get(), &failure, sizeof failure);
    } while (n < 0 && errno == EINTR);
    Process process;
    process.options_ = std::move(options);
    process.pid_ = pid;
    if (n == sizeof failure) {
        process.kill();
        return errno_error("exec " + path, failure);
    }
    return process;
}

Process::Process(Process&& other) noexcept
    : options_(std::move(other.options_)),
      pid_(std::exchange(other.pid_, -1)),
      exit_status_(other.exit_status_) {}

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        kill();
        options_ = std::move(other.options_);
        pid_ = std::exchange(other.pid_, -1);
        exit_status_ = other.exit_status_;
    }
    return *this;
}

bool Process::reap(bool block) {
    if (pid_ <= 0) return true;
    int status = 0;
    pid_t got = 0;
    do {
        got = ::waitpid(pid_, &status, block ? 0 : WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got == 0) return false;
    if (got == pid_) {
        exit_status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    pid_ = -1;
    return true;
}

bool Process::running() {
    return !reap(false);
}

Status Process::signal(int number) {
    if (!running()) return Error{ErrorCode::kNotFound, options_.executable.string() + " has ended"};
    if (::kill(pid_, number) != 0) return errno_error("kill", errno);
    return ok_status();
}

Result<int> Process::wait(Duration deadline) {
    const TimePoint until = MonoClock::now() + deadline;
    while (!reap(false)) {
        if (MonoClock::now() >= until) {
            return Error{
                ErrorCode::kDeadline,
                options_.executable.string() + " (process " + std::to_string(pid_) +
                    ") has not ended in time"};
        }
        std::this_thread::sleep_for(Millis(2));
    }
    return exit_status_;
}

Result<int> Process::stop(Duration grace) {
    if (running()) (void)::kill(pid_, SIGTERM);
    auto ended = wait(grace);
    if (!ended) kill();
    return exit_status_;
}

void Process::kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    reap(true);
}

Status Process::restart() {
    kill();
    EG_TRY(Process fresh, start(options_));
    *this = std::move(fresh);
    return ok_status();
}

Result<std::filesystem::path> self_executable() {
    std::error_code failure;
    auto path = std::filesystem::read_symlink("/proc/self/exe", failure);
    if (failure) return errno_error("readlink /proc/self/exe", failure.value());
    return path;
}

std::string tail_of(const std::filesystem::path& file, int lines) {
    auto content = read_file(file, 64U << 20);
    if (!content) return "";
    std::size_t at = content->size();
    for (int i = 0; i <= lines && at != std::string::npos && at > 0; ++i) {
        at = content->rfind('\n', at - 1);
    }
    return at == std::string::npos ? *content : content->substr(std::min(at + 1, content->size()));
}

}  // namespace egpu::sim
