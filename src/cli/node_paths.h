// Where install puts things on a node.
#pragma once

#include <filesystem>

namespace egpu::cli {

inline constexpr const char* kDefaultPrefix = "/usr/local";
inline constexpr const char* kConfigFolder = "/etc/edge-gpu";
inline constexpr const char* kAgentConfFile = "/etc/edge-gpu/agent.conf";
inline constexpr const char* kManifestFile = "/etc/edge-gpu/installed.json";
inline constexpr const char* kUnitFolder = "/etc/systemd/system";
inline constexpr const char* kStateFolder = "/var/lib/edge-gpu";  // the agent's default --state-dir

inline std::filesystem::path binary_path(const std::filesystem::path& prefix) {
    return prefix / "bin" / "edge-gpu";
}
// Beside the binary by its run path, $ORIGIN/../lib/edge-gpu.
inline std::filesystem::path library_folder(const std::filesystem::path& prefix) {
    return prefix / "lib" / "edge-gpu";
}

// A folder that holds nothing but what install put there, and goes with it.
inline bool is_own_folder(const std::filesystem::path& folder) {
    return folder.filename() == "edge-gpu" || folder.extension() == ".wants";
}

}  // namespace egpu::cli
