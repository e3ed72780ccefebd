#include <cerrno>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file_view.h"

namespace egpu {
namespace {

constexpr std::size_t kMostNames = 200'000;

FileType type_of(mode_t mode) {
    if (S_ISDIR(mode)) return FileType::kFolder;
    if (S_ISLNK(mode)) return FileType::kLink;
    if (S_ISCHR(mode)) return FileType::kChar;
    if (S_ISBLK(mode)) return FileType::kBlock;
    if (S_ISSOCK(mode)) return FileType::kSocket;
    if (S_ISFIFO(mode)) return FileType::kFifo;
    return FileType::kRegular;
}

}  // namespace

HostView::HostView(std::filesystem::path root) : root_(root.string()) {
    while (!root_.empty() && root_.back() == '/') root_.pop_back();
}

Result<FileInfo> HostView::entry(const std::string& path) const {
    const std::string real = root_ + path;
    struct stat status {};
    if (::lstat(real.c_str(), &status) != 0) return errno_error(path, errno);
    FileInfo info;
    info.type = type_of(status.st_mode);
    info.mode = status.st_mode & 07777U;
    if (info.type == FileType::kRegular) info.size = static_cast<std::uint64_t>(status.st_size);
    if (info.type == FileType::kChar || info.type == FileType::kBlock) {
        info.major = major(status.st_rdev);
        info.minor = minor(status.st_rdev);
    }
    if (info.type == FileType::kLink) {
        char target[4096];
        const ssize_t n = ::readlink(real.c_str(), target, sizeof target);
        if (n < 0) return errno_error(path, errno);
        info.target.assign(target, static_cast<std::size_t>(n));
    }
    return info;
}

Result<std::vector<std::string>> HostView::names(const std::string& path) const {
    struct Close {
        void operator()(DIR* folder) const { ::closedir(folder); }
    };
    const std::unique_ptr<DIR, Close> folder(::opendir((root_ + path).c_str()));
    if (!folder) return errno_error(path, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* found = ::readdir(folder.get())) {
        const std::string_view name = found->d_name;
        if (name == "." || name == "..") continue;
        if (names.size() == kMostNames) {
            return Error{ErrorCode::kExhausted, path + ": too many files"};
        }
        names.emplace_back(name);
    }
    if (errno != 0) return errno_error(path, errno);
    return names;
}

Result<std::string> HostView::content(const std::string& path, std::size_t limit) const {
    // A file that becomes a link or a fifo meanwhile is refused and never waited for.
    const Fd fd(::open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd.valid()) return errno_error(path, errno);
    std::string out;
    char buffer[16384];
    for (;;) {
        const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error(path, errno);
        if (n == 0) return out;
        out.append(buffer, static_cast<std::size_t>(n));
        if (out.size() > limit) {
            return Error{
                ErrorCode::kExhausted,
                path + ": larger than the limit of " + std::to_string(limit) + " bytes"};
        }
    }
}

}  // namespace egpu
