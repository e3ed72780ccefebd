#include "base/child.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace egpu {
namespace {

constexpr int kCannotExec = 127;
constexpr int kTick = 200;  // ms between looks at pending signals

int millis_left(TimePoint deadline) {
    const auto left = std::chrono::duration_cast<Millis>(deadline - MonoClock::now()).count();
    return left > 0 ? static_cast<int>(std::min<long long>(left, 60'000)) : 0;
}

// The caller blocks these around work that must clean up after itself.
bool interrupted() {
    sigset_t waiting;
    return ::sigpending(&waiting) == 0 &&
           (::sigismember(&waiting, SIGINT) == 1 || ::sigismember(&waiting, SIGTERM) == 1);
}

// Reads until the end of file or the deadline. False: the deadline came first.
bool drain(int fd, TimePoint deadline, const ChildOptions& options, std::string& out) {
    char buffer[16384];
    for (;;) {
        pollfd wait{fd, POLLIN, 0};
        const int left = millis_left(deadline);
        const int ready = ::poll(&wait, 1, std::min(left, kTick));
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0 || left == 0) return false;
        if (!options.ignore_signals && interrupted()) return false;
        if (ready == 0) continue;
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return true;
        const std::size_t room = options.most_output - std::min(options.most_output, out.size());
        out.append(buffer, std::min(room, static_cast<std::size_t>(n)));
    }
}

// Waits for the child; at the deadline its group is killed. A child in uninterruptible sleep is
// left behind: waiting for it would hang like it does.
void reap(pid_t pid, TimePoint deadline, ChildResult& result) {
    constexpr auto kStep = Millis(5);
    constexpr auto kGrace = Seconds(2);
    int status = 0;
    bool killed = false;
    for (;;) {
        const pid_t gone = ::waitpid(pid, &status, WNOHANG);
        if (gone == pid) break;
        if (gone < 0 && errno != EINTR) return;
        if (MonoClock::now() >= deadline) {
            if (killed) return;
            ::kill(-pid, SIGKILL);
            ::kill(pid, SIGKILL);
            killed = true;
            result.timed_out = true;
            deadline = MonoClock::now() + kGrace;
        }
        ::usleep(static_cast<useconds_t>(std::chrono::microseconds(kStep).count()));
    }
    if (WIFSIGNALED(status)) {
        result.signal = WTERMSIG(status);
        result.exit_status = 128 + result.signal;
    } else {
        result.exit_status = WEXITSTATUS(status);
    }
}

void prepare_child(pid_t parent) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kCannotExec);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

bool write_to(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

Result<ChildResult> run_function(
    const std::function<int(int output)>& work, const ChildOptions& options
) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    Fd from(ends[0]);
    Fd to(ends[1]);
    const TimePoint deadline = MonoClock::now() + options.limit;
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return errno_error("fork", errno);
    if (pid == 0) {
        prepare_child(parent);
        ::_exit(work(to.get()));
    }
    ::setpgid(pid, pid);
    to.reset();
    ChildResult result;
    const bool ended = drain(from.get(), deadline, options, result.output);
    reap(pid, ended ? std::max(deadline, MonoClock::now() + Seconds(1)) : MonoClock::now(), result);
    return result;
}

Result<ChildResult> run_program(const std::vector<std::string>& argv, const ChildOptions& options) {
    std::vector<std::string> environment = options.environment;
    environment.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    std::vector<char*> arguments;
    std::vector<char*> variables;
    for (const std::string& each : argv) arguments.push_back(const_cast<char*>(each.c_str()));
    for (const std::string& each : environment)
        variables.push_back(const_cast<char*>(each.c_str()));
    arguments.push_back(nullptr);
    variables.push_back(nullptr);
    // What execve said comes through a pipe of its own, closed by a successful execve.
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    Fd failure_from(ends[0]);
    Fd failure_to(ends[1]);
    auto result = run_function(
        [&](int output) {
            const int null = ::open("/dev/null", O_RDONLY);
            ::dup2(null, STDIN_FILENO);
            ::dup2(output, STDOUT_FILENO);
            ::dup2(output, STDERR_FILENO);
            const bool inside =
                options.root == "/" || (::chroot(options.root.c_str()) == 0 && ::chdir("/") == 0);
            if (inside) ::execve(arguments[0], arguments.data(), variables.data());
            const int why = errno;
            (void)!::write(failure_to.get(), &why, sizeof why);
            return kCannotExec;
        },
        options
    );
    failure_to.reset();
    int why = 0;
    if (result && ::read(failure_from.get(), &why, sizeof why) == sizeof why) {
        return errno_error("run " + argv[0], why);
    }
    return result;
}

}  // namespace egpu
