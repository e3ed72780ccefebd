#include "isolation/end_process.h"

#include <cerrno>
#include <csignal>
#include <string>

#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

namespace egpu::isolation {

Status end_process(unsigned pid, const std::function<bool()>& still_it) {
    const std::string name = "process " + std::to_string(pid);
    if (pid <= 1 || pid == static_cast<unsigned>(::getpid())) {
        return Error{ErrorCode::kConflict, name + " is not to be ended"};
    }
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0U)));
    if (!process.valid()) {
        if (errno == ESRCH) return Error{ErrorCode::kNotFound, name + " is gone"};
        if (errno == ENOSYS) {
            return Error{
                ErrorCode::kInvalid,
                name + " cannot be ended safely: the kernel has no pidfd_open (Linux 5.3)"};
        }
        return errno_error("hold " + name, errno);
    }
    if (!still_it()) return Error{ErrorCode::kConflict, name + " is another one now"};
    if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0U) != 0) {
        if (errno == ESRCH) return Error{ErrorCode::kNotFound, name + " is gone"};
        return errno_error("end " + name, errno);
    }
    return ok_status();
}

}  // namespace egpu::isolation
