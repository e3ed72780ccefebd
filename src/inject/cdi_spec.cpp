#include "inject/cdi_spec.h"

#include <algorithm>
#include <cctype>
#include <functional>

#include "base/json.h"

namespace egpu::inject {
namespace {

std::string quoted(std::string_view text) {
    std::string out;
    json::append_quoted(out, text);
    return out;
}

// [ "a", "b" ] with an element a line.
template <class T>
void append_list(
    std::string& out,
    const char* key,
    const std::vector<T>& list,
    const std::string& indent,
    bool& first,
    const std::function<std::string(const T&)>& text
) {
    if (list.empty()) return;
    out += (first ? "\n" : ",\n") + indent + quoted(key) + ": [";
    first = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
        out += (i == 0 ? "\n" : ",\n") + indent + "  " + text(list[i]);
    }
    out += "\n" + indent + "]";
}

std::string node_text(const CdiNode& node) {
    std::string out = "{\"path\": " + quoted(node.path);
    if (!node.host_path.empty()) out += ", \"hostPath\": " + quoted(node.host_path);
    if (node.major && node.minor) {
        out += ", \"type\": \"c\", \"major\": " + std::to_string(*node.major) +
               ", \"minor\": " + std::to_string(*node.minor);
    }
    return out + ", \"permissions\": " + quoted(node.permissions) + "}";
}

std::string mount_text(const CdiMount& mount) {
    std::string out = "{\"hostPath\": " + quoted(mount.host_path) +
                      ", \"containerPath\": " + quoted(mount.container_path) + ", \"options\": [";
    for (std::size_t i = 0; i < mount.options.size(); ++i) {
        out += (i == 0 ? "" : ", ") + quoted(mount.options[i]);
    }
    return out + "]}";
}

std::string edits_text(const CdiEdits& edits, const std::string& indent) {
    std::string out = "{";
    bool first = true;
    const std::string inner = indent + "  ";
    append_list<std::string>(out, "env", edits.env, inner, first, [](const std::string& v) {
        return quoted(v);
    });
    append_list<CdiNode>(out, "deviceNodes", edits.nodes, inner, first, node_text);
    append_list<CdiMount>(out, "mounts", edits.mounts, inner, first, mount_text);
    return out + (first ? "}" : "\n" + indent + "}");
}

}  // namespace

std::string lowest_version(const CdiSpec& spec) {
    const auto needs_05 = [](const CdiEdits& edits) {
        return std::any_of(edits.nodes.begin(), edits.nodes.end(), [](const CdiNode& node) {
            return !node.host_path.empty();
        });
    };
    if (spec.kind.find('.', spec.kind.find('/')) != std::string::npos) return "0.6.0";
    bool version_05 = needs_05(spec.edits);
    for (const CdiDevice& device : spec.devices) {
        version_05 = version_05 || needs_05(device.edits) ||
                     (!device.name.empty() && device.name[0] >= '0' && device.name[0] <= '9');
    }
    return version_05 ? "0.5.0" : "0.3.0";
}

std::string to_text(const CdiSpec& spec) {
    std::string out = "{\n  \"cdiVersion\": " + quoted(lowest_version(spec)) +
                      ",\n  \"kind\": " + quoted(spec.kind);
    bool first = false;
    append_list<CdiDevice>(out, "devices", spec.devices, "  ", first, [](const CdiDevice& device) {
        return "{\n      \"name\": " + quoted(device.name) +
               ",\n      \"containerEdits\": " + edits_text(device.edits, "      ") + "\n    }";
    });
    out += ",\n  \"containerEdits\": " + edits_text(spec.edits, "  ");
    return out + "\n}\n";
}

std::string cdi_device_name(std::string_view id) {
    std::string name(id);
    for (char& c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-' && c != '.' &&
            c != ':') {
            c = '_';
        }
    }
    return name;
}

std::string cdi_file_name(std::string_view kind) {
    std::string name(kind);
    std::replace(name.begin(), name.end(), '/', '-');
    return name + ".json";
}

}  // namespace egpu::inject
