#include "isolation/guard_files.h"

#include <algorithm>
#include <system_error>

#include "base/files.h"
#include "base/log.h"
#include "guard/pages.h"
#include "isolation/ledger_copy.h"
#include "isolation/limits_file.h"

namespace egpu::isolation {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libedge-gpu-guard.so";
constexpr const char* kPreload = "ld.so.preload";
constexpr const char* kPreloadInContainer = "/etc/ld.so.preload";
constexpr std::size_t kMostLibrary = 4U << 20;

std::string in_container(const char* name) {
    return std::string(guard::kFolderInContainer) + "/" + name;
}

// Tokens are ours, and become names of folders: nothing else may.
bool is_token(std::string_view name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
}

Status keep_current(const fs::path& path, const std::string& content) {
    const auto there = read_file(path, kMostLibrary);
    if (there && *there == content) return ok_status();
    return write_file_atomically(path, content, 0644);
}

}  // namespace

GuardFiles::GuardFiles(fs::path folder, fs::path library)
    : folder_(std::move(folder)), library_(std::move(library)) {}

Status GuardFiles::install() const {
    EG_TRY_VOID(make_directories(folder_));
    auto library = read_file(library_, kMostLibrary);
    if (!library) return library.error().wrap("the guard's library");
    EG_TRY_VOID(keep_current(folder_ / kLibrary, *library));
    return keep_current(folder_ / kPreload, in_container(kLibrary) + "\n");
}

fs::path GuardFiles::of(std::string_view token) const {
    return folder_ / token;
}

fs::path GuardFiles::limits(std::string_view token) const {
    return of(token) / guard::kLimitsFile;
}

fs::path GuardFiles::ledger(std::string_view token) const {
    return of(token) / guard::kLedgerFile;
}

Status GuardFiles::prepare(std::string_view token) const {
    if (!is_token(token)) {
        return Error{
            ErrorCode::kInvalid, "\"" + std::string(token.substr(0, 64)) + "\" is no token"};
    }
    EG_TRY_VOID(make_directories(of(token)));
    EG_TRY_VOID(make_ledger(ledger(token)));
    auto opened = LimitsFile::open(limits(token));
    if (!opened) return std::move(opened).error();
    return ok_status();
}

void GuardFiles::remove(std::string_view token) const {
    if (!is_token(token)) return;
    std::error_code error;
    fs::remove_all(of(token), error);
    if (error) {
        log::warn(
            "the files of an allocation that ended cannot be removed",
            {{"folder", of(token).string()}, {"error", error.message()}}
        );
    }
}

std::vector<std::string> GuardFiles::tokens() const {
    std::vector<std::string> tokens;
    std::error_code error;
    for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
        const std::string name = at->path().filename().string();
        if (is_token(name) && at->is_directory(error)) tokens.push_back(name);
    }
    return tokens;
}

void GuardFiles::add_mounts(std::string_view token, inject::ContainerEdits& edits) const {
    edits.mounts.push_back({(folder_ / kLibrary).string(), in_container(kLibrary), true});
    edits.mounts.push_back({limits(token).string(), in_container(guard::kLimitsFile), true});
    edits.mounts.push_back({ledger(token).string(), in_container(guard::kLedgerFile), false});
    // Last: a container that cannot get the parts before it must not be left with the preload.
    edits.mounts.push_back({(folder_ / kPreload).string(), kPreloadInContainer, true});
}

}  // namespace egpu::isolation
