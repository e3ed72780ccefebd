#include "doctor/containerd_config.h"

#include <algorithm>

#include <fnmatch.h>

#include "doctor/config_text.h"

namespace egpu::doctor {
namespace {

constexpr std::size_t kMostImports = 100;

struct Document {
    std::string file;
    json::value value;
};

std::string parent_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

// The files an `imports` entry names: absolute or relative to the importing file, with a pattern in
// its last part.
std::vector<std::string> expand(
    const FileView& files, const std::string& importer, const std::string& pattern
) {
    const std::string full =
        pattern.starts_with('/') ? pattern : parent_of(importer) + "/" + pattern;
    if (full.find_first_of("*?[") == std::string::npos) return {full};
    std::vector<std::string> found;
    const std::string folder = parent_of(full);
    const std::string last = full.substr(full.rfind('/') + 1);
    const auto names = files.list(folder.empty() ? "/" : folder);
    if (!names) return {};
    for (const std::string& name : *names) {
        if (::fnmatch(last.c_str(), name.c_str(), FNM_PERIOD) == 0) {
            found.push_back(folder + "/" + name);
        }
    }
    return found;
}

bool load(
    const FileView& files,
    const std::string& path,
    ContainerdConfig& config,
    std::vector<Document>& documents
) {
    const bool known =
        std::find(config.files.begin(), config.files.end(), path) != config.files.end();
    if (known || config.files.size() >= kMostImports) return true;
    config.files.push_back(path);
    const auto text = files.read(path);
    auto value = text ? parse_toml(*text) : Result<json::value>(text.error());
    if (!value) {
        config.error_file = path;
        config.error = value.error().message;
        return false;
    }
    documents.push_back({path, *value});
    if (const json::array* imports = json::get_array(*value, {"imports"})) {
        for (const json::value& entry : *imports) {
            if (!entry.is_string()) continue;
            for (const std::string& file : expand(files, path, std::string(entry.as_string()))) {
                if (!load(files, file, config, documents)) return false;
            }
        }
    }
    return true;
}

void merge(json::value& to, const json::value& from) {
    if (!to.is_object() || !from.is_object()) {
        to = from;
        return;
    }
    for (const auto& [key, value] : from.as_object()) {
        auto* existing = to.as_object().if_contains(key);
        if (existing == nullptr) {
            to.as_object()[key] = value;
        } else {
            merge(*existing, value);
        }
    }
}

int version_of(const json::value& document) {
    return static_cast<int>(json::get_int(document, {"version"}).value_or(1));
}

// The section of the CRI plugin that has the runtimes, for any version of the file.
const json::value* cri_section(const json::value& document) {
    const json::value* best = nullptr;
    for (const char* name : {"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"}) {
        if (const json::value* found = json::find(document, {"plugins", name})) best = found;
    }
    return best;
}

bool disables_cri(const json::value& document) {
    const json::array* disabled = json::get_array(document, {"disabled_plugins"});
    if (disabled == nullptr) return false;
    return std::any_of(disabled->begin(), disabled->end(), [](const json::value& entry) {
        return entry.is_string() &&
               (entry.as_string() == "cri" || entry.as_string() == "io.containerd.grpc.v1.cri" ||
                entry.as_string() == "io.containerd.cri.v1.runtime");
    });
}

void read_section(const json::value& cri, ContainerdConfig& config) {
    const std::string_view chosen = json::get_string(cri, {"containerd", "default_runtime_name"});
    if (!chosen.empty()) config.default_runtime = chosen;
    if (const json::object* runtimes = json::get_object(cri, {"containerd", "runtimes"})) {
        for (const auto& [name, value] : *runtimes) {
            ContainerdRuntime runtime;
            runtime.name = name;
            runtime.binary_name = json::get_string(value, {"options", "BinaryName"});
            if (runtime.binary_name.empty()) {
                runtime.binary_name = json::get_string(value, {"options", "Runtime"});
            }
            if (runtime.binary_name.empty()) {  // version 1: runtime_engine
                runtime.binary_name = json::get_string(value, {"runtime_engine"});
            }
            runtime.systemd_cgroup = json::get_bool(value, {"options", "SystemdCgroup"}) ||
                                     json::get_bool(cri, {"systemd_cgroup"});
            config.runtimes.push_back(std::move(runtime));
        }
    }
    if (const json::value* enable = json::find(cri, {"enable_cdi"}); enable && enable->is_bool()) {
        config.enable_cdi = enable->as_bool();
    }
    if (const json::array* dirs = json::get_array(cri, {"cdi_spec_dirs"})) {
        std::vector<std::string> paths;
        for (const json::value& entry : *dirs) {
            if (entry.is_string()) paths.emplace_back(entry.as_string());
        }
        config.cdi_spec_dirs = std::move(paths);
    }
}

}  // namespace

const ContainerdRuntime* ContainerdConfig::runtime(std::string_view name) const {
    for (const ContainerdRuntime& each : runtimes) {
        if (each.name == name) return &each;
    }
    return nullptr;
}

std::string_view cri_plugin_name(int version) {
    if (version >= 3) return "io.containerd.cri.v1.runtime";
    return version == 2 ? "io.containerd.grpc.v1.cri" : "cri";
}

ContainerdConfig read_containerd_config(
    const FileView& files, const std::string& path, bool merge_plugins
) {
    ContainerdConfig config;
    config.path = path;
    config.exists = files.exists(path);
    if (!config.exists) return config;
    std::vector<Document> documents;
    if (!load(files, path, config, documents)) return config;
    config.version = version_of(documents.front().value);
    json::value cri;
    for (const Document& document : documents) {
        config.cri_disabled = config.cri_disabled || disables_cri(document.value);
        const json::value* section = cri_section(document.value);
        if (section == nullptr) continue;
        config.enable_cdi_file = document.file;
        if (merge_plugins) {
            merge(cri, *section);
        } else {
            cri = *section;
        }
    }
    if (cri.is_object()) read_section(cri, config);
    return config;
}

}  // namespace egpu::doctor
