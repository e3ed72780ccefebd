// /etc/edge-gpu/installed.json: what `edge-gpu install` wrote, so that the next install and
// uninstall remove exactly that. Pure.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu::cli {

struct Manifest {
    std::string version;                    // of edge-gpu
    std::string checksum;                   // of what the unit runs (cli/payload.h)
    std::set<std::filesystem::path> files;  // and links
};

std::string write_manifest(const Manifest& manifest);
// kCorrupt when it is no manifest, or names a file that install never writes.
Result<Manifest> read_manifest(std::string_view text);

}  // namespace egpu::cli
