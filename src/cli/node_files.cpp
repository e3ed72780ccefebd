#include "cli/node_files.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/node_paths.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = 1U << 30;

Error file_error(const std::string& verb, const fs::path& path, int number) {
    Error error = errno_error(verb + " " + path.string(), number);
    if (number == EACCES || number == EPERM || number == EROFS) error.message += "; run it as root";
    return error;
}

Status hinted(Status status) {
    if (status || status.error().code != ErrorCode::kPermission) return status;
    Error error = status.error();
    error.message += "; run it as root";
    return error;
}

bool is_within(const fs::path& path, const fs::path& folder) {
    const fs::path relative = path.lexically_relative(folder);
    return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

NodeFiles::NodeFiles(fs::path root, bool dry_run, Say say)
    : root_(std::move(root)), dry_run_(dry_run), say_(std::move(say)) {}

void NodeFiles::report(const char* would, const char* did, const fs::path& path) const {
    say_((dry_run_ ? std::string("would ") + would : std::string(did)) + " " + path.string());
}

Result<fs::path> NodeFiles::on_disk(const fs::path& path) const {
    const fs::path joined = (root_ / path.relative_path()).lexically_normal();
    std::error_code failure;
    const fs::path root = fs::weakly_canonical(root_, failure);
    const fs::path folder =
        failure ? fs::path() : fs::weakly_canonical(joined.parent_path(), failure);
    if (failure) return Error{ErrorCode::kInvalid, joined.string() + ": " + failure.message()};
    if (is_within(folder, root)) return joined;
    return Error{
        ErrorCode::kInvalid,
        joined.parent_path().string() + " leads out of " + root_.string() + " to " +
            folder.string()};
}

Result<std::optional<std::string>> NodeFiles::read(const fs::path& path) const {
    EG_TRY(const fs::path file, on_disk(path));
    struct stat info {};
    if (::lstat(file.c_str(), &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return std::optional<std::string>();
        return file_error("look at", file, errno);
    }
    if (!S_ISREG(info.st_mode)) return std::optional<std::string>();
    EG_TRY(std::string content, read_file(file, kLargestFile));
    return std::optional<std::string>(std::move(content));
}

unsigned NodeFiles::mode_of(const fs::path& path, unsigned otherwise) const {
    const auto file = on_disk(path);
    struct stat info {};
    return file && ::lstat(file->c_str(), &info) == 0 ? info.st_mode & 07777U : otherwise;
}

bool NodeFiles::exists(const fs::path& path) const {
    const auto file = on_disk(path);
    struct stat info {};
    return file && ::lstat(file->c_str(), &info) == 0;
}

Result<bool> NodeFiles::write(const fs::path& path, std::string_view content, unsigned mode) {
    EG_TRY(const fs::path file, on_disk(path));
    EG_TRY(const std::optional<std::string> before, read(path));
    struct stat info {};
    const bool same_mode = ::lstat(file.c_str(), &info) == 0 && (info.st_mode & 07777U) == mode;
    if (before && *before == content && same_mode) {
        say_("unchanged " + path.string());
        return false;
    }
    if (!dry_run_) {
        EG_TRY_VOID(hinted(make_directories(file.parent_path())));
        EG_TRY_VOID(hinted(write_file_atomically(file, content, mode)));
    }
    report(before ? "replace" : "write", before ? "replaced" : "wrote", path);
    return true;
}

Result<bool> NodeFiles::link(const fs::path& path, const fs::path& target) {
    EG_TRY(const fs::path file, on_disk(path));
    std::error_code failure;
    if (fs::read_symlink(file, failure) == target && !failure) {
        say_("unchanged " + path.string());
        return false;
    }
    if (!dry_run_) {
        EG_TRY_VOID(hinted(make_directories(file.parent_path())));
        const fs::path temporary = file.parent_path() / ("." + file.filename().string() + "." +
                                                         std::to_string(::getpid()));
        ::unlink(temporary.c_str());
        if (::symlink(target.c_str(), temporary.c_str()) != 0)
            return file_error("link", file, errno);
        if (::rename(temporary.c_str(), file.c_str()) != 0) {
            const int number = errno;
            ::unlink(temporary.c_str());
            return file_error("rename to", file, number);
        }
    }
    report("link", "linked", path);
    return true;
}

Result<bool> NodeFiles::remove(const fs::path& path) {
    if (!exists(path)) return false;
    EG_TRY(const fs::path file, on_disk(path));
    if (!dry_run_ && ::unlink(file.c_str()) != 0 && errno != ENOENT) {
        return file_error("remove", file, errno);
    }
    report("remove", "removed", path);
    return true;
}

Status NodeFiles::remove_if_empty(const fs::path& folder) {
    EG_TRY(const fs::path on, on_disk(folder));
    if (dry_run_ || ::rmdir(on.c_str()) == 0) return ok_status();
    if (errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
        return ok_status();
    return file_error("remove", on, errno);
}

Status NodeFiles::remove_tree(const fs::path& folder) {
    if (!exists(folder)) return ok_status();
    EG_TRY(const fs::path on, on_disk(folder));
    if (!dry_run_) {
        std::error_code failure;
        fs::remove_all(on, failure);  // does not follow links
        if (failure) return file_error("remove", on, failure.value());
    }
    report("remove", "removed", folder);
    return ok_status();
}

Status remove_own_folders(const fs::path& file, NodeFiles& files) {
    for (fs::path folder = file.parent_path(); is_own_folder(folder);
         folder = folder.parent_path()) {
        EG_TRY_VOID(files.remove_if_empty(folder));
    }
    return ok_status();
}

}  // namespace egpu::cli
