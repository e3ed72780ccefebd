#include "doctor/enable_cdi.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/json.h"
#include "doctor/config_text.h"
#include "doctor/containerd_config.h"

namespace egpu::doctor {
namespace {

struct Line {
    std::string_view text;
    // The plugin whose table, or table below it, this header opens; "" for other lines.
    std::string plugin;
    bool header = false;
    bool exact = false;  // the plugin's own table
};

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    return text;
}

// What a line "[plugins.…]" opens; the TOML parser itself reads the quoting.
void read_header(Line& line) {
    const std::string_view text = trimmed(line.text);
    if (!text.starts_with('[')) return;
    const auto parsed = parse_toml(std::string(text) + "\n");
    line.header = parsed.ok();
    if (!line.header) return;
    const json::object* plugins = json::get_object(*parsed, {"plugins"});
    if (plugins == nullptr || plugins->size() != 1) return;
    line.plugin = plugins->begin()->key();
    const json::value& below = plugins->begin()->value();
    line.exact = below.is_object() && below.as_object().empty();
}

std::vector<Line> lines_of(std::string_view text) {
    std::vector<Line> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        Line line;
        line.text = text.substr(0, end);
        read_header(line);
        lines.push_back(std::move(line));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

bool sets_enable_cdi(std::string_view line) {
    std::string_view text = trimmed(line);
    const std::string_view key = "enable_cdi";
    if (!text.starts_with(key)) return false;
    text.remove_prefix(key.size());
    return trimmed(text).starts_with('=');
}

std::string indent_of(std::string_view line) {
    return std::string(line.substr(0, line.find_first_not_of(" \t")));
}

std::string edited(const std::vector<Line>& lines, const std::string& plugin) {
    const std::string header = plugin == "cri" ? "[plugins.cri]" : "[plugins.\"" + plugin + "\"]";
    const auto own = std::find_if(lines.begin(), lines.end(), [&](const Line& line) {
        return line.exact && line.plugin == plugin;
    });
    const auto below = std::find_if(lines.begin(), lines.end(), [&](const Line& line) {
        return line.plugin == plugin;
    });
    std::string out;
    const auto add = [&out](std::string_view line) { out.append(line).append("\n"); };
    if (own == lines.end()) {
        for (auto at = lines.begin(); at != lines.end(); ++at) {
            if (at == below) {
                add(indent_of(at->text) + header);
                add(indent_of(at->text) + "  enable_cdi = true");
                add("");
            }
            add(at->text);
        }
        if (below == lines.end()) {
            if (!lines.empty()) add("");
            add(header);
            add("  enable_cdi = true");
        }
        return out;
    }
    const auto section_end =
        std::find_if(own + 1, lines.end(), [](const Line& line) { return line.header; });
    const auto existing = std::find_if(own + 1, section_end, [](const Line& line) {
        return sets_enable_cdi(line.text);
    });
    for (auto at = lines.begin(); at != lines.end(); ++at) {
        if (existing != section_end && at == existing) {
            add(indent_of(at->text) + "enable_cdi = true");
            continue;
        }
        add(at->text);
        if (at == own && existing == section_end) add(indent_of(at->text) + "  enable_cdi = true");
    }
    return out;
}

}  // namespace

Result<std::string> enable_cdi(std::string_view text) {
    EG_TRY(json::value before, parse_toml(text));
    const int version = static_cast<int>(json::get_int(before, {"version"}).value_or(1));
    const std::string plugin(cri_plugin_name(version));
    if (json::get_bool(before, {"plugins", plugin, "enable_cdi"})) return std::string(text);
    std::string after = edited(lines_of(text), plugin);
    const auto parsed = parse_toml(after);
    if (!before.as_object().contains("plugins")) before.as_object()["plugins"] = json::object();
    json::value* plugins = json::find(before, {"plugins"});
    if (plugins->is_object()) {
        json::value& section = plugins->as_object()[plugin];
        if (!section.is_object()) section = json::object();
        section.as_object()["enable_cdi"] = true;
    }
    if (!parsed || *parsed != before) {
        return Error{
            ErrorCode::kInvalid,
            "the file is written in a way that is not edited automatically: set enable_cdi = true "
            "in [plugins.\"" +
                plugin + "\"] by hand"};
    }
    return after;
}

}  // namespace egpu::doctor
