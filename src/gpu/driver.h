// The NVIDIA driver's user-space files as they lie below a driver root: what a container needs so
// that CUDA and NVML work in it.
//
// A pure function of a FileView. Only files that exist come out, each once, and never files of two
// driver versions together: what an older driver left behind is reported in `notes`. Paths are
// inside the view and free of links.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_view.h"
#include "base/result.h"

namespace egpu::gpu {

// What a container may do with a card; the words of NVIDIA_DRIVER_CAPABILITIES. A mask.
using Capabilities = unsigned;
inline constexpr Capabilities kCompute = 1U << 0;
inline constexpr Capabilities kUtility = 1U << 1;
inline constexpr Capabilities kVideo = 1U << 2;
inline constexpr Capabilities kGraphics = 1U << 3;
inline constexpr Capabilities kDisplay = 1U << 4;
inline constexpr Capabilities kNgx = 1U << 5;
inline constexpr Capabilities kCompat32 = 1U << 6;  // also the 32-bit libraries of the others
inline constexpr Capabilities kAllCapabilities = (1U << 7) - 1;

// A comma list such as "compute,utility", or "all"; kInvalid names the word.
Result<Capabilities> parse_capabilities(std::string_view text);
std::string capabilities_text(Capabilities capabilities);

enum class DriverKind { kNone, kLinux, kWsl, kTegra };
std::string_view to_string(DriverKind kind);

struct DriverLibrary {
    std::string path;
    // The names programs load it by, its SONAME first: "libcuda.so.1", "libcuda.so".
    std::vector<std::string> names;
    Capabilities capabilities = 0;
    bool is_32bit = false;
    bool carries_version = false;  // the SONAME has the driver's version in it
    std::string subfolder;         // "vdpau" where it is looked for in a folder of that name

    bool operator==(const DriverLibrary&) const = default;
};

// Anything else: a program, a configuration file, firmware, or (WSL, Tegra) a whole folder.
struct DriverFile {
    enum class Kind { kProgram, kConfig, kFirmware, kFolder };
    Kind kind = Kind::kConfig;
    std::string path;
    std::string container_path;  // where a container's programs look for it
    Capabilities capabilities = 0;

    bool operator==(const DriverFile&) const = default;
};

struct Driver {
    DriverKind kind = DriverKind::kNone;
    std::string version;  // "450.102.04"; "" when neither hint nor file name tells
    std::vector<DriverLibrary> libraries;
    std::vector<DriverFile> files;
    std::vector<std::string> device_nodes;  // WSL and Tegra: nodes every container gets
    std::vector<std::string> notes;         // what a person should know, one sentence each

    bool operator==(const Driver&) const = default;

    // libcuda.so.1 is there.
    bool usable() const;
};

struct DriverHints {
    std::string version;  // from NVML or the loaded module; wins when files of it exist
};

Driver find_driver(const FileView& root, const DriverHints& hints = {});

// The version of the loaded kernel module: /sys/module/nvidia/version, else
// /proc/driver/nvidia/version; "" when none is loaded. `host`: the host's root, not the driver's.
std::string loaded_module_version(const FileView& host);

// "535.161.08" before "550.54"; compares numbers, not text.
bool older_version(std::string_view a, std::string_view b);

}  // namespace egpu::gpu
