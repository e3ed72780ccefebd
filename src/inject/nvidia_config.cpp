#include "inject/nvidia_config.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <yaml-cpp/yaml.h>

namespace egpu::inject {
namespace {

constexpr std::size_t kMostBytes = 1U << 20;
constexpr int kMostDepth = 16;
constexpr const char* kWhole = "nvidia.com/gpu";

Error bad(const std::string& where, const std::string& what) {
    return Error{ErrorCode::kInvalid, (where.empty() ? "" : where + ": ") + what};
}

std::string at(const std::string& where, const std::string& key) {
    return where.empty() ? key : where + "." + key;
}

struct FlagField {
    const char* key;
    const char* flag;
};
constexpr FlagField kFlags[] = {
    {"migStrategy", "mig-strategy"},
    {"failOnInitError", "fail-on-init-error"},
    {"mpsRoot", "mps-root"},
    {"nvidiaDriverRoot", "driver-root"},
    {"nvidiaDevRoot", "dev-root"},
    {"gdrcopyEnabled", "gdrcopy-enabled"},
    {"gdsEnabled", "gds-enabled"},
    {"mofedEnabled", "mofed-enabled"},
    {"deviceDiscoveryStrategy", "device-discovery-strategy"},
};
constexpr FlagField kPluginFlags[] = {
    {"passDeviceSpecs", "pass-device-specs"},
    {"deviceListStrategy", "device-list-strategy"},
    {"deviceIDStrategy", "device-id-strategy"},
    {"cdiAnnotationPrefix", "cdi-annotation-prefix"},
    {"nvidiaCTKPath", "nvidia-cdi-hook-path"},
    {"nvidiaCDIHookPath", "nvidia-cdi-hook-path"},
    {"containerDriverRoot", "driver-root-ctr-path"},
    {"sharedDevicesAllocationPolicy", "shared-devices-allocation-policy"},
};

// A map whose keys must be among the known ones.
Status keys(const YAML::Node& node, const std::string& where, std::vector<std::string> known) {
    if (!node.IsMap()) return bad(where, "is not a map");
    for (const auto& entry : node) {
        if (!entry.first.IsScalar()) return bad(where, "has a key that is not a word");
        const std::string key = entry.first.Scalar();
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        const std::string meant = did_you_mean(key, known);
        return bad(
            at(where, key.substr(0, 64)),
            "unknown field" + (meant.empty() ? "" : "; did you mean " + meant + "?")
        );
    }
    return ok_status();
}

// A word, or a list of words joined by commas. nullopt: absent or null.
Result<std::optional<std::string>> words(const YAML::Node& node, const std::string& where) {
    if (!node.IsDefined() || node.IsNull()) return std::optional<std::string>();
    if (node.IsScalar()) return std::optional<std::string>(node.Scalar());
    if (!node.IsSequence()) return bad(where, "is neither a word nor a list of words");
    std::string list;
    for (const auto& word : node) {
        if (!word.IsScalar()) return bad(where, "is neither a word nor a list of words");
        list += (list.empty() ? "" : ",") + word.Scalar();
    }
    return std::optional<std::string>(list);
}

bool present(const YAML::Node& node) {
    return node.IsDefined() && !node.IsNull();
}

Result<bool> boolean(const YAML::Node& node, const std::string& where) {
    if (!present(node)) return false;
    if (node.IsScalar() && node.Scalar() == "true") return true;
    if (node.IsScalar() && node.Scalar() == "false") return false;
    return bad(where, "is neither true nor false");
}

Status take_flags(
    const YAML::Node& node,
    const std::string& where,
    const FlagField* begin,
    const FlagField* end,
    NvidiaConfig& out
) {
    for (const FlagField* field = begin; field != end; ++field) {
        EG_TRY(const auto value, words(node[field->key], at(where, field->key)));
        if (value) out.flags[field->flag] = *value;
    }
    return ok_status();
}

template <std::size_t N>
std::vector<std::string> names(const FlagField (&fields)[N], std::vector<std::string> more) {
    for (const FlagField& field : fields) more.emplace_back(field.key);
    return more;
}

Status read_flags(const YAML::Node& flags, NvidiaConfig& out) {
    if (!present(flags)) return ok_status();
    EG_TRY_VOID(keys(flags, "flags", names(kFlags, {"plugin", "gfd", "useNodeFeatureAPI"})));
    EG_TRY_VOID(take_flags(flags, "flags", std::begin(kFlags), std::end(kFlags), out));
    if (const YAML::Node plugin = flags["plugin"]; present(plugin)) {
        EG_TRY_VOID(keys(plugin, "flags.plugin", names(kPluginFlags, {})));
        EG_TRY_VOID(take_flags(
            plugin, "flags.plugin", std::begin(kPluginFlags), std::end(kPluginFlags), out
        ));
    }
    if (const YAML::Node gfd = flags["gfd"]; present(gfd)) {
        EG_TRY_VOID(keys(
            gfd,
            "flags.gfd",
            {"oneshot", "noTimestamp", "sleepInterval", "outputFile", "machineTypeFile"}
        ));
        out.notes.emplace_back("flags.gfd is for gpu-feature-discovery, not for a device plugin");
    }
    if (present(flags["useNodeFeatureAPI"])) {
        out.notes.emplace_back(
            "flags.useNodeFeatureAPI is for gpu-feature-discovery, not for a device plugin"
        );
    }
    return ok_status();
}

// NVIDIA's plugin ignores this section with a warning. Only what it does anyway can be honoured.
Status read_resources(const YAML::Node& resources) {
    if (!present(resources)) return ok_status();
    EG_TRY_VOID(keys(resources, "resources", {"gpus", "mig"}));
    for (const char* kind : {"gpus", "mig"}) {
        const YAML::Node list = resources[kind];
        if (!present(list)) continue;
        const std::string where = std::string("resources.") + kind;
        if (!list.IsSequence()) return bad(where, "is not a list");
        for (std::size_t i = 0; i < list.size(); ++i) {
            const std::string entry = where + "[" + std::to_string(i) + "]";
            EG_TRY_VOID(keys(list[i], entry, {"pattern", "name"}));
            EG_TRY(const auto name, words(list[i]["name"], entry + ".name"));
            EG_TRY(const auto pattern, words(list[i]["pattern"], entry + ".pattern"));
            const bool as_it_is = pattern == "*" && (name == "gpu" || name == kWhole);
            if (as_it_is) continue;
            return bad(
                entry,
                "naming resources by card model is not possible; all cards are nvidia.com/gpu (a "
                "pod "
                "chooses a model by its annotation edge-gpu.io/gpu-model)"
            );
        }
    }
    return ok_status();
}

Result<int> replicas_of(const YAML::Node& node, const std::string& where) {
    int value = 0;
    if (node.IsDefined() && node.IsScalar()) {
        const std::string& text = node.Scalar();
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
        if (parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() && value >= 2) {
            return value;
        }
    }
    return bad(where, "is not a number from 2 on");
}

// NVIDIA's plugin reads `rename` and `devices` and ignores them.
Status keeps_name_and_devices(const YAML::Node& resource, const std::string& where) {
    if (present(resource["rename"])) {
        return bad(where + ".rename", "is not possible: the resource keeps its name");
    }
    EG_TRY(const auto devices, words(resource["devices"], where + ".devices"));
    if (devices && *devices != "all") {
        return bad(where + ".devices", "is not possible: the replicas are of all cards");
    }
    return ok_status();
}

Status read_replicas(
    const YAML::Node& section,
    const std::string& where,
    std::vector<NvidiaConfig::Replicas>& out,
    bool& fail_greater
) {
    if (!present(section)) return ok_status();
    EG_TRY_VOID(keys(section, where, {"renameByDefault", "failRequestsGreaterThanOne", "resources"})
    );
    EG_TRY(const bool rename, boolean(section["renameByDefault"], at(where, "renameByDefault")));
    if (rename) {
        return bad(at(where, "renameByDefault"), "is not possible: the resource keeps its name");
    }
    EG_TRY(
        fail_greater,
        boolean(section["failRequestsGreaterThanOne"], at(where, "failRequestsGreaterThanOne"))
    );
    const YAML::Node list = section["resources"];
    if (!present(list)) return ok_status();
    if (!list.IsSequence()) return bad(at(where, "resources"), "is not a list");
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string entry = where + ".resources[" + std::to_string(i) + "]";
        EG_TRY_VOID(keys(list[i], entry, {"name", "rename", "devices", "replicas"}));
        EG_TRY(const auto name, words(list[i]["name"], entry + ".name"));
        if (!name || name->empty()) return bad(entry + ".name", "is missing");
        EG_TRY_VOID(keeps_name_and_devices(list[i], entry));
        EG_TRY(const int count, replicas_of(list[i]["replicas"], entry + ".replicas"));
        const std::string full =
            name->find('/') == std::string::npos ? "nvidia.com/" + *name : *name;
        out.push_back({full, count});
    }
    return ok_status();
}

Status read_imex(const YAML::Node& imex, NvidiaConfig& out) {
    if (!present(imex)) return ok_status();
    EG_TRY_VOID(keys(imex, "imex", {"channelIDs", "required"}));
    EG_TRY(const auto channels, words(imex["channelIDs"], "imex.channelIDs"));
    if (channels) out.flags["imex-channel-ids"] = *channels;
    EG_TRY(const auto required, words(imex["required"], "imex.required"));
    if (required) out.flags["imex-required"] = *required;
    return ok_status();
}

// YAML in an agent's configuration needs no depth; yaml-cpp recurses.
bool too_deep(std::string_view text) {
    int depth = 0;
    int deepest = 0;
    std::size_t indent = 0;
    bool line_start = true;
    for (const char c : text) {
        if (c == '\n') {
            line_start = true;
            indent = 0;
            continue;
        }
        if (line_start && (c == ' ' || c == '-' || c == '?' || c == ':')) {
            ++indent;
            deepest = std::max(deepest, static_cast<int>(indent / 2));
        } else {
            line_start = false;
        }
        if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
        if (c == '}' || c == ']') --depth;
    }
    return deepest > kMostDepth * 2;
}

Result<NvidiaConfig> read_root(const YAML::Node& root) {
    NvidiaConfig config;
    if (root.IsNull()) return bad("", "the file is empty; its first line is \"version: v1\"");
    EG_TRY_VOID(keys(root, "", {"version", "flags", "resources", "sharing", "imex"}));
    EG_TRY(const auto version, words(root["version"], "version"));
    if (!version) return bad("version", "is missing; it is v1");
    if (*version != "v1") return bad("version", "\"" + version->substr(0, 16) + "\" is not v1");
    EG_TRY_VOID(read_flags(root["flags"], config));
    EG_TRY_VOID(read_resources(root["resources"]));
    if (const YAML::Node sharing = root["sharing"]; present(sharing)) {
        EG_TRY_VOID(keys(sharing, "sharing", {"timeSlicing", "mps"}));
        EG_TRY_VOID(read_replicas(
            sharing["timeSlicing"],
            "sharing.timeSlicing",
            config.time_slicing,
            config.fail_requests_greater_than_one
        ));
        bool of_mps = false;
        EG_TRY_VOID(read_replicas(sharing["mps"], "sharing.mps", config.mps, of_mps));
    }
    EG_TRY_VOID(read_imex(root["imex"], config));
    return config;
}

}  // namespace

Result<NvidiaConfig> parse_nvidia_config(std::string_view text) {
    if (text.size() > kMostBytes) return bad("", "larger than 1 MiB");
    if (too_deep(text)) return bad("", "nested too deeply");
    try {
        return read_root(YAML::Load(std::string(text)));
    } catch (const std::exception& error) {
        return bad("", std::string("not valid YAML: ") + error.what());
    }
}

std::string did_you_mean(std::string_view wrong, const std::vector<std::string>& known) {
    const auto lower = [](std::string_view word) {
        std::string out(word.substr(0, 64));
        for (char& c : out) {
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        }
        std::erase_if(out, [](char c) { return c == '-' || c == '_'; });
        return out;
    };
    const std::string a = lower(wrong);
    std::string best;
    std::size_t least = std::max<std::size_t>(2, a.size() / 4) + 1;
    for (const std::string& word : known) {
        const std::string b = lower(word);
        std::vector<std::size_t> row(b.size() + 1);
        for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= a.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j <= b.size(); ++j) {
                const std::size_t above = row[j];
                row[j] =
                    std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)}
                    );
                diagonal = above;
            }
        }
        if (row[b.size()] < least) {
            least = row[b.size()];
            best = word;
        }
    }
    return best;
}

}  // namespace egpu::inject
