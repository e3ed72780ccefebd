#include "cli/payload.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/files.h"
#include "cli/node_paths.h"
#include "cli/shared_libraries.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = 1U << 30;

Result<fs::path> source_of(const fs::path& binary) {
    if (!binary.empty()) return binary;
    std::error_code failure;
    const fs::path self = fs::read_symlink("/proc/self/exe", failure);
    if (!failure && fs::exists(self, failure)) return self;
    return Error{
        ErrorCode::kNotFound, "the running program's file is gone; name one with --binary"};
}

// Every file of the folder `lib` beside `source`'s bin, to go to `folder`.
Result<std::vector<PayloadFile>> libraries_beside(const fs::path& source, const fs::path& folder) {
    std::error_code failure;
    const fs::path lib = fs::absolute(source, failure).parent_path().parent_path() / "lib";
    std::vector<fs::path> names;
    for (fs::directory_iterator at(lib, failure), end; !failure && at != end;
         at.increment(failure)) {
        if (at->is_regular_file(failure)) names.push_back(at->path());
    }
    if (failure) return errno_error("read the folder " + lib.string(), failure.value());
    std::sort(names.begin(), names.end());
    std::vector<PayloadFile> out;
    for (const fs::path& name : names) {
        EG_TRY(std::string content, read_file(name, kLargestFile));
        const bool program =
            (fs::status(name, failure).permissions() & fs::perms::owner_exec) != fs::perms::none;
        out.push_back({folder / name.filename(), std::move(content), program ? 0755U : 0644U});
    }
    return out;
}

// Those of `source`'s libraries that a bare node lacks, as the loader finds them here.
Result<std::vector<PayloadFile>> libraries_carried(const fs::path& source, const fs::path& folder) {
    EG_TRY(const std::vector<SharedLibrary> libraries, list_libraries(source));
    std::vector<PayloadFile> out;
    for (const SharedLibrary& library : libraries) {
        if (library.file.empty()) {
            return Error{
                ErrorCode::kNotFound,
                source.string() + " needs " + library.name +
                    ", which is not on this machine; use the archive for nodes, which brings its "
                    "libraries"};
        }
        if (is_of_the_system(library.name)) continue;
        EG_TRY(std::string content, read_file(library.file, kLargestFile));
        out.push_back({folder / library.name, std::move(content), 0644});
    }
    return out;
}

// The guard that containers load (edge-gpu agent --isolation guard), where it came with `source`.
Status add_guard(const fs::path& source, const fs::path& folder, std::vector<PayloadFile>& out) {
    constexpr const char* kGuard = "libedge-gpu-guard.so";
    std::error_code failure;
    const fs::path lib = fs::absolute(source, failure).parent_path().parent_path() / "lib";
    for (const fs::path& file : {lib / kGuard, lib / "edge-gpu" / kGuard}) {
        if (!fs::exists(file, failure)) continue;
        EG_TRY(std::string content, read_file(file, kLargestFile));
        out.push_back({folder / kGuard, std::move(content), 0644});
        return ok_status();
    }
    return ok_status();
}

}  // namespace

Result<Payload> payload_of(
    const fs::path& binary, const std::optional<fs::path>& prefix, const NodeFiles& files
) {
    EG_TRY(const fs::path source, source_of(binary));
    EG_TRY(const fs::path loader, loader_of(source));
    Payload out;
    out.source = source;
    out.self_contained = !loader.empty() && !is_system_loader(loader);
    out.prefix =
        out.self_contained ? loader.parent_path().parent_path() : prefix.value_or(kDefaultPrefix);
    if (prefix && *prefix != out.prefix) {
        return Error{
            ErrorCode::kInvalid,
            "--prefix: this program has its own loader and runs from " + out.prefix.string() +
                " only"};
    }
    EG_TRY(std::string program, read_file(source, kLargestFile));
    out.checksum = checksum(program);
    // The program goes last: an old one runs with newer libraries, a new one may not run with old
    // ones.
    if (out.self_contained) {
        EG_TRY(out.files, libraries_beside(source, loader.parent_path()));
        for (const PayloadFile& file : out.files) out.checksum += checksum(file.content);
        out.checksum = checksum(out.checksum);
        EG_TRY(const fs::path place, files.on_disk(binary_path(out.prefix)));
        std::error_code ignored;
        if (fs::equivalent(source, place, ignored)) {
            out.files.clear();  // unpacked where it belongs
            return out;
        }
    } else {
        EG_TRY(out.files, libraries_carried(source, library_folder(out.prefix)));
        EG_TRY_VOID(add_guard(source, library_folder(out.prefix), out.files));
    }
    out.files.push_back({binary_path(out.prefix), std::move(program), 0755});
    return out;
}

Status check_payload(const Payload& payload, const NodeFiles& files) {
    // Its paths are absolute: below another root they lead elsewhere.
    if (payload.self_contained && files.root() != "/") return ok_status();
    EG_TRY(const fs::path binary, files.on_disk(binary_path(payload.prefix)));
    const fs::path lib =
        payload.self_contained ? payload.prefix / "lib" : library_folder(payload.prefix);
    EG_TRY(const fs::path folder, files.on_disk(lib));
    EG_TRY(const std::vector<SharedLibrary> libraries, list_libraries(binary));
    for (const SharedLibrary& library : libraries) {
        if (!payload.self_contained && is_of_the_system(library.name)) continue;
        std::error_code ignored;
        if (fs::equivalent(library.file.parent_path(), folder, ignored)) continue;
        return Error{
            ErrorCode::kInvalid,
            binary.string() + " does not look for " + library.name + " in " + folder.string() +
                ": it was not linked for installing"};
    }
    return ok_status();
}

}  // namespace egpu::cli
