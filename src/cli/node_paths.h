// Where install puts things on a node.
#pragma once

#include <filesystem>

namespace egpu::cli {

inline constexpr const char* kDefaultPrefix = "/usr/local";
inline constexpr const char* kLinkInPath = "/usr/local/bin/edge-gpu";
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

// A folder that install made or that has no other purpose: named edge-gpu, below one, or of links.
inline bool is_own_folder(const std::filesystem::path& folder) {
    for (const auto& part : folder) {
        if (part == "edge-gpu") return true;
    }
    return folder.extension() == ".wants";
}

}  // namespace egpu::cli
