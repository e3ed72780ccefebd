#include "gpu/make_device_nodes.h"

#include <cerrno>
#include <csignal>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"

namespace egpu::gpu {
namespace {

Status make_node(const std::string& path, const DeviceNodePlan::Node& node) {
    EG_TRY_VOID(make_directories(std::filesystem::path(path).parent_path()));
    struct stat there {};
    if (::lstat(path.c_str(), &there) == 0) {
        if (!S_ISCHR(there.st_mode)) {
            return Error{ErrorCode::kConflict, path + ": something else is in the way"};
        }
        if (there.st_rdev == makedev(node.major, node.minor)) return ok_status();
        if (::unlink(path.c_str()) != 0) return errno_error("replace " + path, errno);
    }
    if (::mknod(path.c_str(), S_IFCHR | 0600, makedev(node.major, node.minor)) != 0) {
        return errno == EEXIST ? ok_status() : Status(errno_error("create " + path, errno));
    }
    // After the umask had its say.
    if (::chown(path.c_str(), node.uid, node.gid) != 0 || ::chmod(path.c_str(), node.mode) != 0) {
        return errno_error("set the mode of " + path, errno);
    }
    return ok_status();
}

Status make_link(const std::string& path, const std::string& target) {
    EG_TRY_VOID(make_directories(std::filesystem::path(path).parent_path()));
    if (::symlink(target.c_str(), path.c_str()) == 0 || errno == EEXIST) return ok_status();
    return errno_error("link " + path, errno);
}

}  // namespace

Status make_device_nodes(const std::filesystem::path& dev_root, const DeviceNodePlan& plan) {
    std::string root = dev_root.string();
    while (root.ends_with('/')) root.pop_back();
    Error failed;
    const auto note = [&](const Status& status) {
        if (status) return;
        failed.code = status.error().code;
        failed.message += (failed.message.empty() ? "" : "; ") + status.error().message;
    };
    for (const auto& node : plan.nodes) note(make_node(root + node.path, node));
    for (const auto& link : plan.links) note(make_link(root + link.path, link.target));
    return failed.message.empty() ? ok_status() : Status(std::move(failed));
}

Status load_uvm_module(const std::filesystem::path& host_root, Duration deadline) {
    const std::string root = host_root.string();
    const TimePoint until = MonoClock::now() + deadline;
    const pid_t child = ::fork();
    if (child < 0) return errno_error("fork", errno);
    if (child == 0) {  // only calls that are safe between fork and exec
        if (root != "/" && (::chroot(root.c_str()) != 0 || ::chdir("/") != 0)) ::_exit(126);
        const int null = ::open("/dev/null", O_RDWR);
        for (int fd = 0; null >= 0 && fd < 3; ++fd) ::dup2(null, fd);
        for (const char* program : {"/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"}) {
            ::execl(program, "modprobe", "nvidia-uvm", nullptr);
        }
        ::_exit(127);
    }
    for (;;) {
        int status = 0;
        const pid_t done = ::waitpid(child, &status, WNOHANG);
        if (done == child) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ok_status();
            const bool absent = WIFEXITED(status) && WEXITSTATUS(status) == 127;
            return Error{
                ErrorCode::kUnavailable,
                absent ? "there is no modprobe to load nvidia-uvm with"
                       : "modprobe nvidia-uvm failed; run it by hand to see why"};
        }
        if (done < 0 && errno != EINTR) return errno_error("wait for modprobe", errno);
        if (MonoClock::now() >= until) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            return Error{ErrorCode::kDeadline, "modprobe nvidia-uvm takes too long"};
        }
        std::this_thread::sleep_for(Millis(10));
    }
}

}  // namespace egpu::gpu
