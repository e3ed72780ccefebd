#include "base/files.h"

#include <atomic>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

namespace egpu {
namespace {

Error file_error(std::string_view verb, const std::filesystem::path& path) {
    return errno_error(std::string(verb) + " " + path.string(), errno);
}

Status write_all(int fd, std::string_view content, const std::filesystem::path& path) {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0) {
            if (errno == EINTR) continue;
            return file_error("write", path);
        }
        content.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return file_error("open", path);
    std::string content;
    char buffer[16384];
    for (;;) {
        const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
        if (n < 0) {
            if (errno == EINTR) continue;
            return file_error("read", path);
        }
        if (n == 0) return content;
        content.append(buffer, static_cast<std::size_t>(n));
        if (content.size() > limit) {
            return Error{
                ErrorCode::kExhausted,
                "read " + path.string() + ": larger than the limit of " + std::to_string(limit) +
                    " bytes"};
        }
    }
}

Status write_file_atomically(
    const std::filesystem::path& path, std::string_view content, unsigned mode
) {
    static std::atomic<unsigned> counter{0};
    const std::filesystem::path temporary =
        path.parent_path() / ("." + path.filename().string() + "." + std::to_string(::getpid()) +
                              "." + std::to_string(counter.fetch_add(1)) + ".tmp");
    {
        Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
        if (!fd.valid()) return file_error("create", temporary);
        auto written = write_all(fd.get(), content, temporary);
        if (written && ::fsync(fd.get()) != 0) written = file_error("sync", temporary);
        if (!written) {
            ::unlink(temporary.c_str());
            return written;
        }
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        Error error = file_error("rename to", path);
        ::unlink(temporary.c_str());
        return error;
    }
    const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
    Fd folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.valid()) return file_error("open", parent);
    if (::fsync(folder.get()) != 0) return file_error("sync", parent);
    return {};
}

Status make_directories(const std::filesystem::path& path, unsigned mode) {
    std::filesystem::path sofar;
    for (const auto& part : path) {
        sofar /= part;
        if (::mkdir(sofar.c_str(), mode) != 0 && errno != EEXIST && errno != EROFS) {
            return file_error("create folder", sofar);
        }
    }
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return file_error("create folder", path);
    if (!S_ISDIR(info.st_mode)) {
        return Error{
            ErrorCode::kInvalid, "create folder " + path.string() + ": a file is in the way"};
    }
    return {};
}

}  // namespace egpu
