// Waits for changes in the kubelet's device-plugin folder: inotify on the folder (a watch on a
// socket dies with it), with a wake-up from other threads and a time-out for what inotify misses.
// Internal; wait() is for one thread, wake() for any.
#pragma once

#include <filesystem>
#include <optional>

#include <sys/types.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace egpu::kubelet {

// Tells one socket file from another of the same name. The inode number alone is re-used at once.
struct FileIdentity {
    dev_t device = 0;
    ino_t inode = 0;
    long long modified_ns = 0;  // a socket's mtime is its creation

    bool operator==(const FileIdentity&) const = default;
};
// nullopt: there is no such socket.
std::optional<FileIdentity> socket_identity(const std::filesystem::path& path);

// A connection attempt that is dropped at once: does anybody listen? kNotFound: no file;
// kUnavailable: nobody listens.
Status probe_socket(const std::filesystem::path& path);

class SocketWatch {
  public:
    SocketWatch(std::filesystem::path folder, bool use_inotify);

    // Returns after a change in the folder, a wake() or `timeout`.
    void wait(Duration timeout);
    void wake();
    // False: inotify cannot be had now (limit reached, folder missing); tried again in wait().
    bool watching() const { return watch_ >= 0; }

  private:
    void arm();
    void drain();

    std::filesystem::path folder_;
    bool use_inotify_;
    Fd inotify_;
    Fd event_;
    int watch_ = -1;
};

}  // namespace egpu::kubelet
