// /etc/edge-gpu/agent.conf: the environment of the agent's unit, in systemd's EnvironmentFile
// format. The operator's file: values are set in place, everything else stays as it is. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace egpu::cli {

inline constexpr const char* kConfNodeName = "NODE_NAME";
inline constexpr const char* kConfKubeconfig = "KUBECONFIG";
inline constexpr const char* kConfFlags = "EDGE_GPU_AGENT_FLAGS";

// A fresh file, with every setting commented out.
std::string fresh_agent_conf();

// The value that systemd would give the variable; nullopt when no line sets it.
std::optional<std::string> conf_value(std::string_view conf, std::string_view key);

// Every variable that the file sets, as "NAME=value".
std::vector<std::string> conf_environment(std::string_view conf);

// `conf` with that value: in the line that sets it, else in the one where it is commented out, else
// in a new line at the end.
std::string with_conf_value(std::string_view conf, std::string_view key, std::string_view value);

// kInvalid when the text has characters that mean something in that file (quotes, backslashes, $,
// control characters). `flag` is named in the error.
Status check_conf_value(std::string_view flag, const std::string& value);

}  // namespace egpu::cli
