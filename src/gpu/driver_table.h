// What NVIDIA's drivers install, as data: which library belongs to which capability and by which
// SONAME it is loaded. From r418 to r580.
#pragma once

#include <span>
#include <string_view>

#include "gpu/driver.h"

namespace egpu::gpu {

struct KnownLibrary {
    std::string_view base;    // "libcuda" of libcuda.so.1
    std::string_view soname;  // what follows ".so.": "1"; "" when it is the driver's version
    Capabilities capabilities;
    bool own_version = false;         // versioned apart from the driver
    std::string_view also = {};       // one more name programs load it by
    std::string_view subfolder = {};  // below the library folder
};
std::span<const KnownLibrary> known_libraries();

struct KnownFile {
    DriverFile::Kind kind;
    // Tried in this order, the first that has any is taken. "{version}" stands for the driver's;
    // '*' matches as in a shell.
    std::string_view places[4];
    std::string_view container_folder;  // "": where it was found
    Capabilities capabilities;
};
std::span<const KnownFile> known_files();

struct LibraryFolder {
    std::string_view path;
    bool is_32bit;
};
// In the order of search; of 64-bit folders those of both architectures.
std::span<const LibraryFolder> library_folders();

}  // namespace egpu::gpu
