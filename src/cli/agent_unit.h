// The agent's systemd unit: deploy/systemd/edge-gpu-agent.service, built into the binary. Pure.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::cli {

inline constexpr const char* kUnitName = "edge-gpu-agent.service";

// The file's text, byte for byte.
std::string_view agent_unit_text();

// The unit for a binary at `<prefix>/bin/edge-gpu`.
std::string agent_unit_for(const std::filesystem::path& prefix);

// The units of its WantedBy= ("multi-user.target"): enabling it links it below each one's .wants.
std::vector<std::string> wanted_by(std::string_view unit);

}  // namespace egpu::cli
