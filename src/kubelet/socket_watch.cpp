#include "kubelet/socket_watch.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"

namespace egpu::kubelet {

std::optional<FileIdentity> socket_identity(const std::filesystem::path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return std::nullopt;
    return FileIdentity{
        info.st_dev,
        info.st_ino,
        static_cast<long long>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Status probe_socket(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path) {
        return Error{ErrorCode::kInvalid, "socket path too long (107 bytes): " + path.string()};
    }
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return errno_error("socket", errno);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
        errno == EAGAIN) {
        return {};  // EAGAIN: a full backlog has a listener
    }
    const int why = errno;
    if (why == ECONNREFUSED) {
        return Error{ErrorCode::kUnavailable, "nobody listens on " + path.string()};
    }
    return errno_error("connect to " + path.string(), why);
}

SocketWatch::SocketWatch(std::filesystem::path folder, bool use_inotify)
    : folder_(std::move(folder)),
      use_inotify_(use_inotify),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    EG_CHECK(event_.valid());
    arm();
}

void SocketWatch::arm() {
    if (!use_inotify_ || watch_ >= 0) return;
    if (!inotify_.valid()) inotify_ = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_.valid()) return;
    watch_ = ::inotify_add_watch(
        inotify_.get(),
        folder_.c_str(),
        IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF |
            IN_ONLYDIR
    );
}

void SocketWatch::drain() {
    alignas(inotify_event) char buffer[4096];
    for (;;) {
        const ssize_t n = ::read(inotify_.get(), buffer, sizeof buffer);
        if (n <= 0) return;
        for (ssize_t at = 0; at < n;) {
            inotify_event event{};
            std::memcpy(&event, buffer + at, sizeof event);
            at += static_cast<ssize_t>(sizeof event + event.len);
            if ((event.mask & (IN_IGNORED | IN_MOVE_SELF)) != 0 && event.wd == watch_) {
                // The folder itself is gone or elsewhere: watch the new one of this name.
                if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify_.get(), watch_);
                watch_ = -1;
            }
        }
    }
}

void SocketWatch::wait(Duration timeout) {
    arm();
    pollfd entries[2] = {{event_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}};
    const auto limit = std::chrono::ceil<Millis>(timeout).count();
    ::poll(entries, inotify_.valid() ? 2 : 1, static_cast<int>(std::clamp<long>(limit, 0, 60'000)));
    std::uint64_t count = 0;
    while (::read(event_.get(), &count, sizeof count) > 0) {
    }
    if (inotify_.valid()) drain();
    arm();
}

void SocketWatch::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
}

}  // namespace egpu::kubelet
