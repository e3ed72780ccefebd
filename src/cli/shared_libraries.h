// Which shared libraries an executable is loaded with, as the system's own loader finds them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::cli {

struct SharedLibrary {
    std::string name;            // "libspdlog.so.1.10"
    std::filesystem::path file;  // "" when the loader does not find it
};

// The loader that an executable names, "" for a static one. kInvalid when it is no executable for
// this machine.
Result<std::filesystem::path> loader_of(const std::filesystem::path& binary);
// Is that the loader of the system, below /lib, /lib64 or /usr?
bool is_system_loader(const std::filesystem::path& loader);

// All of them, those of libraries included; none for a static executable. Runs the loader that
// `binary` names, not `binary`.
Result<std::vector<SharedLibrary>> list_libraries(const std::filesystem::path& binary);

// Is it on every Debian or Ubuntu node that runs systemd, and updated there: glibc, libstdc++,
// libgcc, zlib, OpenSSL? Such a library is never carried along.
bool is_of_the_system(std::string_view name);

// The loader's output ("\tlibz.so.1 => /lib/libz.so.1 (0x7f…)"). Pure.
std::vector<SharedLibrary> parse_loader_output(std::string_view output);

}  // namespace egpu::cli
