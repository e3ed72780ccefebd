// Small files: read with a size limit, replace atomically.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace egpu {

// The whole file; kExhausted when it is larger than `limit` bytes, kNotFound when it does not
// exist.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 16U << 20);

// After success readers see the old or the new content, never a mixture, also after power loss: a
// temporary file beside `path` is written and synced, renamed over it, and the folder is synced.
Status write_file_atomically(
    const std::filesystem::path& path, std::string_view content, unsigned mode = 0600
);

// Creates `path` and its parents. No error when it exists.
Status make_directories(const std::filesystem::path& path, unsigned mode = 0755);

}  // namespace egpu
