#include "doctor/smoke_rootfs.h"

#include <set>
#include <string>

#include <link.h>

#include "base/files.h"

namespace egpu::doctor {
namespace {

namespace fs = std::filesystem;

// The libraries as the loader found them, under the names they were asked for by.
int remember(dl_phdr_info* info, std::size_t, void* paths) {
    const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
    if (path.starts_with('/')) static_cast<std::set<std::string>*>(paths)->insert(path);
    return 0;
}

Status copy_into(const fs::path& from, const fs::path& to) {
    EG_TRY_VOID(make_directories(to.parent_path()));
    std::error_code error;
    fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);  // follows links
    if (error) return errno_error("copy " + from.string() + " to " + to.string(), error.value());
    return ok_status();
}

}  // namespace

Result<std::string> make_smoke_rootfs(const fs::path& folder) {
    std::set<std::string> paths;
    ::dl_iterate_phdr(remember, &paths);
    // libcuda.so.1 asks for these where glibc is older than 2.34; they lie beside the C library.
    std::set<std::string> beside;
    for (const std::string& path : paths) {
        if (!fs::path(path).filename().string().starts_with("libc.so")) continue;
        for (const char* name : {"libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}) {
            const fs::path other = fs::path(path).parent_path() / name;
            std::error_code ignored;
            if (fs::exists(other, ignored)) beside.insert(other.string());
        }
    }
    paths.merge(beside);
    std::set<std::string> library_folders;
    for (const std::string& path : paths) {
        EG_TRY_VOID(copy_into(path, folder / fs::path(path).relative_path()));
        library_folders.insert(fs::path(path).parent_path().string());
    }
    EG_TRY_VOID(copy_into("/proc/self/exe", folder / "edge-gpu"));
    for (const char* name : {"proc", "dev", "sys", "tmp"})
        EG_TRY_VOID(make_directories(folder / name));
    std::string library_path;
    for (const std::string& one : library_folders)
        library_path += (library_path.empty() ? "" : ":") + one;
    return library_path;
}

}  // namespace egpu::doctor
