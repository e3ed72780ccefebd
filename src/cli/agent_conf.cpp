#include "cli/agent_conf.h"

#include <algorithm>
#include <vector>

#include "flags/values.h"

namespace egpu::cli {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view trimmed(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        out.push_back(line);
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return out;
}

// What follows "KEY=", or nullopt when the line is another one.
std::optional<std::string_view> value_in(std::string_view line, std::string_view key) {
    line = trimmed(line);
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with('=')) return std::nullopt;
    return trimmed(line.substr(key.size() + 1));
}

}  // namespace

std::string fresh_agent_conf() {
    return R"(# Settings of edge-gpu-agent.service. `edge-gpu install` wrote this file once and keeps what you change.
# After a change: systemctl restart edge-gpu-agent

# The name of this machine's Node, when it is not the host's name.
#NODE_NAME=

# How the agent reaches the API server. Without it the agent serves the kubelet, but neither learns placements
# nor reports its cards. On SuperEdge nodes the one that names lite-apiserver (https://127.0.0.1:51003).
#KUBECONFIG=/etc/kubernetes/kubelet.conf

# More flags, separated by blanks: `edge-gpu agent --help` lists them.
#EDGE_GPU_AGENT_FLAGS=
)";
}

std::optional<std::string> conf_value(std::string_view conf, std::string_view key) {
    std::optional<std::string> found;  // the last line wins, as in systemd
    for (const std::string_view line : lines_of(conf)) {
        auto value = value_in(line, key);
        if (!value) continue;
        const bool quoted = value->size() >= 2 &&
                            (value->front() == '"' || value->front() == '\'') &&
                            value->back() == value->front();
        found = quoted ? value->substr(1, value->size() - 2) : *value;
    }
    return found;
}

std::vector<std::string> conf_environment(std::string_view conf) {
    std::vector<std::string> out;
    for (const std::string_view line : lines_of(conf)) {
        const std::string_view text = trimmed(line);
        const std::size_t equals = text.find('=');
        if (text.starts_with('#') || text.starts_with(';') || equals == 0) continue;
        if (equals == std::string_view::npos) continue;
        const std::string key(text.substr(0, equals));
        std::erase_if(out, [&](const std::string& one) { return one.starts_with(key + "="); });
        out.push_back(key + "=" + conf_value(conf, key).value_or(""));
    }
    return out;
}

std::string with_conf_value(std::string_view conf, std::string_view key, std::string_view value) {
    const std::string line = std::string(key) + "=\"" + std::string(value) + "\"";
    const std::vector<std::string_view> lines = lines_of(conf);
    std::optional<std::size_t> set;
    std::optional<std::size_t> commented;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::string_view text = trimmed(lines[i]);
        if (value_in(text, key)) set = i;
        if (text.starts_with('#') && value_in(text.substr(1), key)) commented = i;
    }
    const std::optional<std::size_t> place = set ? set : commented;
    std::string out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        out += i == place ? line : std::string(lines[i]);
        out += '\n';
    }
    if (!place) out += line + "\n";
    return out;
}

Status check_conf_value(std::string_view flag, const std::string& value) {
    const bool fine = std::none_of(value.begin(), value.end(), [](char c) {
        return static_cast<unsigned char>(c) < ' ' || c == 0x7f || c == '"' || c == '\'' ||
               c == '\\' || c == '$' || c == '`';
    });
    if (fine) return ok_status();
    return flags::bad_value(
        flag,
        value,
        "free of quotes, backslashes, $ and control characters; write it into the file by hand"
    );
}

}  // namespace egpu::cli
