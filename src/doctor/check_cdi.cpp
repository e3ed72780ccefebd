// CDI specs of NVIDIA's devices: do they parse, and does what they name exist on this node?
#include <algorithm>
#include <map>
#include <set>

#include "doctor/check.h"
#include "doctor/config_text.h"
#include "inject/cdi_validate.h"

namespace egpu::doctor {
namespace {

constexpr std::string_view kOwnKind = "edge-gpu.io/";

struct Spec {
    std::string path;
    int priority = 0;  // of its folder
    json::value content;
};

bool about_nvidia(std::string_view kind) {
    return kind.starts_with(kOwnKind) || kind.find("nvidia") != std::string_view::npos;
}

// Every "containerEdits" of a spec.
std::vector<const json::value*> all_edits(const json::value& spec) {
    std::vector<const json::value*> edits;
    if (const json::value* common = json::find(spec, {"containerEdits"})) edits.push_back(common);
    if (const json::array* devices = json::get_array(spec, {"devices"})) {
        for (const json::value& device : *devices) {
            if (const json::value* own = json::find(device, {"containerEdits"}))
                edits.push_back(own);
        }
    }
    return edits;
}

std::string host_path(const json::value& entry, const char* otherwise) {
    const auto host = json::get_string(entry, {"hostPath"});
    return std::string(host.empty() ? json::get_string(entry, {otherwise}) : host);
}

void node_fault(const FileView& files, const json::value& node, std::set<std::string>& faults) {
    const std::string path = host_path(node, "path");
    const auto info = files.look(path);
    if (!info) {
        faults.insert(path + " is not there");
        return;
    }
    const auto major = json::get_int(node, {"major"});
    const auto minor = json::get_int(node, {"minor"});
    if (!major || !minor || info->type != FileType::kChar) return;
    if (*major == static_cast<std::int64_t>(info->major) &&
        *minor == static_cast<std::int64_t>(info->minor))
        return;
    faults.insert(
        path + " is " + std::to_string(info->major) + ":" + std::to_string(info->minor) +
        ", the spec says " + std::to_string(*major) + ":" + std::to_string(*minor)
    );
}

// What the spec names and this node does not have, or has otherwise.
std::set<std::string> faults_of(const FileView& files, const json::value& spec) {
    std::set<std::string> faults;
    for (const json::value* edits : all_edits(spec)) {
        if (const json::array* nodes = json::get_array(*edits, {"deviceNodes"})) {
            for (const json::value& node : *nodes) node_fault(files, node, faults);
        }
        if (const json::array* mounts = json::get_array(*edits, {"mounts"})) {
            for (const json::value& mount : *mounts) {
                const std::string path = host_path(mount, "hostPath");
                if (!files.exists(path)) faults.insert(path + " is not there");
            }
        }
        if (const json::array* hooks = json::get_array(*edits, {"hooks"})) {
            for (const json::value& hook : *hooks) {
                const std::string path(json::get_string(hook, {"path"}));
                if (!find_program(files, path)) faults.insert(path + " (a hook) is not there");
            }
        }
    }
    return faults;
}

std::string summary(const std::set<std::string>& faults) {
    constexpr std::size_t kShown = 3;
    std::string text;
    std::size_t n = 0;
    for (const std::string& fault : faults) {
        if (++n > kShown) break;
        text += (text.empty() ? "" : "; ") + fault;
    }
    if (faults.size() > kShown) text += "; and " + std::to_string(faults.size() - kShown) + " more";
    return text;
}

void unusable(std::string_view id, const Spec& spec, std::string found, bool own, Findings& out) {
    Finding& finding = own ? out.error(id, spec.path, std::move(found))
                           : out.warning(id, spec.path, std::move(found));
    finding.meaning =
        id == "cdi-spec-stale"
            ? "made for an earlier driver or boot: containers that use it do not start"
            : "runtimes ignore the file: its devices cannot be resolved";
    if (own) {
        finding.fix =
            "edge-gpu doctor --fix\nor restart the agent: systemctl restart edge-gpu-agent";
        finding.repair = Repair::kCdiSpec;
    } else if (spec.path.find("k8s.device-plugin") != std::string::npos) {
        finding.fix =
            "rm " + spec.path + "\nor restart NVIDIA's device plugin, which writes it at its start";
    } else {
        finding.fix = "nvidia-ctk cdi generate --output=" + spec.path +
                      "\nor, when nothing uses it: rm " + spec.path;
    }
}

void conflicts(const std::vector<Spec>& specs, Findings& out) {
    std::map<std::string, const Spec*> owners;
    std::set<std::string> told;
    for (const Spec& spec : specs) {
        const std::string kind(json::get_string(spec.content, {"kind"}));
        const json::array* devices = json::get_array(spec.content, {"devices"});
        if (devices == nullptr) continue;
        for (const json::value& device : *devices) {
            const std::string name = kind + "=" + std::string(json::get_string(device, {"name"}));
            const auto [at, added] = owners.try_emplace(name, &spec);
            if (added || at->second->path == spec.path) continue;
            if (at->second->priority != spec.priority) {
                at->second = &spec;  // the dynamic folder wins
                continue;
            }
            if (!told.insert(at->second->path + spec.path).second) continue;
            Finding& finding = out.warning(
                "cdi-conflict", at->second->path + ", " + spec.path, "both define " + name
            );
            finding.meaning = "neither is used: the device cannot be resolved";
            finding.fix = "rm " + spec.path;
        }
    }
}

}  // namespace

void check_cdi(const CheckContext& context, Findings& out) {
    const FileView& files = *context.facts.files;
    std::vector<Spec> specs;
    int priority = 0;
    for (const char* folder : {"/etc/cdi", "/var/run/cdi"}) {
        ++priority;
        const auto names = files.list(folder);
        if (!names) continue;
        for (const std::string& name : *names) {
            const bool as_json = name.ends_with(".json");
            if (!as_json && !name.ends_with(".yaml")) continue;
            Spec spec;
            spec.path = std::string(folder) + "/" + name;
            spec.priority = priority;
            const bool own = name.starts_with("edge-gpu.io");
            const auto text = files.read(spec.path, 8U << 20);
            auto parsed = !text     ? Result<json::value>(text.error())
                          : as_json ? json::parse(*text)
                                    : parse_yaml(*text);
            if (!parsed || !parsed->is_object()) {
                const bool concerns = own || name.find("nvidia") != std::string::npos;
                if (concerns) {
                    unusable(
                        "cdi-spec-broken",
                        spec,
                        parsed ? "not a CDI spec" : parsed.error().message,
                        own,
                        out
                    );
                }
                continue;
            }
            spec.content = std::move(*parsed);
            if (!about_nvidia(json::get_string(spec.content, {"kind"}))) continue;
            const auto invalid = inject::validate_cdi(json::to_text(spec.content));
            if (!invalid.empty()) {
                unusable("cdi-spec-broken", spec, invalid.front(), own, out);
                continue;
            }
            const auto faults = faults_of(files, spec.content);
            if (!faults.empty()) unusable("cdi-spec-stale", spec, summary(faults), own, out);
            specs.push_back(std::move(spec));
        }
    }
    conflicts(specs, out);
    if (!out.empty()) return;
    if (specs.empty()) {
        out.ok("cdi-none", "/etc/cdi, /var/run/cdi", "no spec of NVIDIA devices").meaning =
            "the agent writes its own where it injects by CDI";
        return;
    }
    out.ok(
        "cdi",
        "/etc/cdi, /var/run/cdi",
        std::to_string(specs.size()) + " spec(s); every file and device they name is there"
    );
}

}  // namespace egpu::doctor
