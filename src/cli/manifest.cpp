#include "cli/manifest.h"

#include "base/json.h"
#include "cli/agent_unit.h"
#include "cli/node_paths.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kFormat = 1;

bool is_below(const fs::path& path, const fs::path& folder) {
    const fs::path relative = path.lexically_relative(folder);
    return !relative.empty() && relative != "." && *relative.begin() != "..";
}

// A damaged manifest must not make uninstall remove something else.
bool may_be_ours(const fs::path& path) {
    if (!path.is_absolute() || path.lexically_normal() != path) return false;
    const fs::path folder = path.parent_path();
    if (path.filename() == "edge-gpu" && folder.filename() == "bin") return true;
    if (folder.filename() == "edge-gpu" && folder.parent_path().filename() == "lib") return true;
    if (folder.filename() == "lib" && folder.parent_path().filename() == "edge-gpu") return true;
    return path.filename() == kUnitName && is_below(path, kUnitFolder);
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
    json::array files;
    for (const fs::path& file : manifest.files) files.push_back(json::string(file.string()));
    const json::object out{
        {"format", kFormat},
        {"version", manifest.version},
        {"checksum", manifest.checksum},
        {"files", std::move(files)}};
    return json::to_text(out) + "\n";
}

Result<Manifest> read_manifest(std::string_view text) {
    const auto corrupt = [](const std::string& why) {
        return Error{ErrorCode::kCorrupt, std::string(kManifestFile) + ": " + why};
    };
    const auto parsed = json::parse(text);
    if (!parsed) return corrupt(parsed.error().message);
    if (json::get_int(*parsed, {"format"}) != kFormat) {
        return corrupt("not written by this version of edge-gpu install; use the one that wrote it"
        );
    }
    Manifest out;
    out.version = json::get_string(*parsed, {"version"});
    out.checksum = json::get_string(*parsed, {"checksum"});
    const json::array* files = json::get_array(*parsed, {"files"});
    if (files == nullptr) return corrupt("files is missing");
    for (const json::value& file : *files) {
        const json::string* name = file.if_string();
        const fs::path path = name == nullptr ? fs::path() : fs::path(std::string(*name));
        if (!may_be_ours(path)) {
            return corrupt(
                "names \"" + path.string() +
                "\", which install does not write; remove what it lists by hand"
            );
        }
        out.files.insert(path);
    }
    return out;
}

}  // namespace egpu::cli
