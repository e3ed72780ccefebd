#include "cli/agent_unit.h"

#include <algorithm>

#include "cli/agent_unit_text.h"

namespace egpu::cli {

std::string_view agent_unit_text() {
    return kAgentUnitText;
}

std::string agent_unit_for(const std::filesystem::path& prefix) {
    constexpr std::string_view kWritten = "/usr/local/bin/edge-gpu";
    const std::string binary = (prefix / "bin/edge-gpu").string();
    std::string text(kAgentUnitText);
    for (std::size_t at = text.find(kWritten); at != std::string::npos;
         at = text.find(kWritten, at + binary.size())) {
        text.replace(at, kWritten.size(), binary);
    }
    return text;
}

std::vector<std::string> wanted_by(std::string_view unit) {
    constexpr std::string_view kKey = "\nWantedBy=";
    std::vector<std::string> out;
    for (std::size_t at = unit.find(kKey); at != std::string_view::npos;
         at = unit.find(kKey, at + 1)) {
        std::string_view names = unit.substr(at + kKey.size());
        names = names.substr(0, names.find('\n'));
        while (!names.empty()) {
            const std::string_view name = names.substr(0, names.find(' '));
            if (!name.empty()) out.emplace_back(name);
            names.remove_prefix(std::min(name.size() + 1, names.size()));
        }
    }
    return out;
}

}  // namespace egpu::cli
