#include "inject/driver_stage.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"

namespace egpu::inject {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCurrent = "current";
constexpr std::size_t kCopyChunk = 1U << 20;

std::string hex(std::uint64_t value) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (int i = 60; i >= 0; i -= 4) text += kDigits[(value >> static_cast<unsigned>(i)) & 15U];
    return text;
}

// The folder's name says what is in it: the driver and the identity of every file.
Result<std::string> folder_name(const std::string& version, std::span<const StagedFile> files) {
    std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a
    const auto add = [&](const std::string& text) {
        for (const char c : text + '\n') {
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
        }
    };
    for (const StagedFile& file : files) {
        struct stat info {};
        if (::stat(file.source.c_str(), &info) != 0) {
            return errno_error("stage " + file.source.string(), errno);
        }
        add(file.name);
        add(file.source.string());
        add(std::to_string(info.st_size) + " " + std::to_string(info.st_mtim.tv_sec) + " " +
            std::to_string(info.st_mtim.tv_nsec));
    }
    return (version.empty() ? "unknown" : version) + "-" + hex(hash);
}

Status copy_bytes(int from, int to, const fs::path& what) {
    if (::ioctl(to, FICLONE, from) == 0) return ok_status();
    std::string buffer(kCopyChunk, '\0');
    for (;;) {
        const ssize_t n = ::read(from, buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error("read " + what.string(), errno);
        if (n == 0) return ok_status();
        for (ssize_t done = 0; done < n;) {
            const ssize_t written =
                ::write(to, buffer.data() + done, static_cast<std::size_t>(n - done));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return errno_error("copy " + what.string(), errno);
            done += written;
        }
    }
}

// `copied`: it took space.
Status place(const fs::path& source, const fs::path& target, bool& copied) {
    EG_TRY_VOID(make_directories(target.parent_path()));
    if (::link(source.c_str(), target.c_str()) == 0) return ok_status();
    const Fd from(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
    if (!from.valid()) return errno_error("open " + source.string(), errno);
    struct stat info {};
    if (::fstat(from.get(), &info) != 0) return errno_error("look at " + source.string(), errno);
    const Fd to(
        ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, info.st_mode & 0755U)
    );
    if (!to.valid()) return errno_error("create " + target.string(), errno);
    if (::fchmod(to.get(), info.st_mode & 0755U) != 0) {
        return errno_error("set the mode of " + target.string(), errno);
    }
    copied = true;
    return copy_bytes(from.get(), to.get(), source);
}

// "lib64/libnvidia-gpucomp.so.550.54.15" -> "lib64/libnvidia-gpucomp.so".
std::string without_version(const std::string& name) {
    const std::size_t so = name.find(".so.");
    return so == std::string::npos ? "" : name.substr(0, so + 3);
}

// Names of the last folder that the new one lacks lead to the new file of the same library.
void keep_old_names(const fs::path& before, const fs::path& now) {
    std::error_code error;
    std::map<std::string, fs::path> by_library;
    for (const auto& entry : fs::recursive_directory_iterator(now, error)) {
        const std::string library = without_version(entry.path().lexically_relative(now).string());
        if (!library.empty()) by_library[library] = entry.path();
    }
    for (const auto& entry : fs::recursive_directory_iterator(before, error)) {
        const fs::path name = entry.path().lexically_relative(before);
        const auto same = by_library.find(without_version(name.string()));
        if (same == by_library.end() || fs::exists(now / name, error)) continue;
        fs::create_hard_link(same->second, now / name, error);
    }
}

Status point_current_at(const fs::path& folder, const std::string& name) {
    const fs::path temporary = folder / (".current." + std::to_string(::getpid()));
    ::unlink(temporary.c_str());
    if (::symlink(name.c_str(), temporary.c_str()) != 0) {
        return errno_error("link " + temporary.string(), errno);
    }
    if (::rename(temporary.c_str(), (folder / kCurrent).c_str()) != 0) {
        return errno_error("switch " + (folder / kCurrent).string(), errno);
    }
    return ok_status();
}

// Containers that run still look into the last one.
void remove_older(const fs::path& folder, const std::string& now, const std::string& before) {
    std::error_code error;
    std::vector<fs::path> old;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename();
        if (name == now || name == before || !entry.is_directory(error)) continue;
        if (!entry.is_symlink(error)) old.push_back(entry.path());
    }
    for (const fs::path& path : old) fs::remove_all(path, error);
}

}  // namespace

Status stage_driver(
    const fs::path& folder, const std::string& version, std::span<const StagedFile> files
) {
    EG_TRY(const std::string name, folder_name(version, files));
    std::error_code error;
    const std::string before = fs::read_symlink(folder / kCurrent, error).string();
    const auto there = [&](const StagedFile& file) {
        std::error_code ignored;
        return fs::exists(folder / name / file.name, ignored);
    };
    if (before == name && std::all_of(files.begin(), files.end(), there)) return ok_status();

    EG_TRY_VOID(make_directories(folder));
    const fs::path fresh = folder / ("." + name + "." + std::to_string(::getpid()));
    fs::remove_all(fresh, error);
    std::uintmax_t copied_bytes = 0;
    EG_TRY_VOID(make_directories(fresh));
    for (const StagedFile& file : files) {
        bool copied = false;
        Status placed = place(file.source, fresh / file.name, copied);
        if (!placed) {
            fs::remove_all(fresh, error);
            return placed;
        }
        if (copied) copied_bytes += fs::file_size(fresh / file.name, error);
    }
    if (!before.empty() && before != name) keep_old_names(folder / before, fresh);
    const Fd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root.valid() && ::syncfs(root.get()) != 0)
        return errno_error("sync " + folder.string(), errno);
    if (before == name) fs::remove_all(folder / name, error);  // something was missing in it
    if (::rename(fresh.c_str(), (folder / name).c_str()) != 0) {
        const int reason = errno;
        fs::remove_all(fresh, error);
        // Another agent, just being replaced by this one, was faster.
        if (reason != EEXIST && reason != ENOTEMPTY) {
            return errno_error("rename to " + (folder / name).string(), reason);
        }
    }
    EG_TRY_VOID(point_current_at(folder, name));
    remove_older(folder, name, before);
    log::info(
        "driver files staged",
        {{"folder", (folder / name).string()},
         {"files", files.size()},
         {"copied MiB", copied_bytes >> 20U}}
    );
    return ok_status();
}

}  // namespace egpu::inject
