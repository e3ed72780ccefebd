#include "cli/install.h"

#include <set>
#include <utility>

#include "base/files.h"
#include "base/version.h"
#include "cli/agent_conf.h"
#include "cli/agent_unit.h"
#include "cli/manifest.h"
#include "cli/node_paths.h"
#include "cli/shared_libraries.h"
#include "k8s/kubeconfig.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = 1U << 30;

// A file to be written, read before anything is changed.
struct Payload {
    fs::path path;
    std::string content;
    unsigned mode;
};

Result<fs::path> source_binary(const InstallOptions& options) {
    if (!options.binary.empty()) return options.binary;
    std::error_code failure;
    const fs::path self = fs::read_symlink("/proc/self/exe", failure);
    if (!failure && fs::exists(self, failure)) return self;
    return Error{
        ErrorCode::kNotFound, "the running program's file is gone; name one with --binary"};
}

// The binary and the libraries that go beside it.
Result<std::vector<Payload>> payload_of(const InstallOptions& options) {
    EG_TRY(const fs::path source, source_binary(options));
    EG_TRY(const std::vector<SharedLibrary> libraries, list_libraries(source));
    std::vector<Payload> out;
    for (const SharedLibrary& library : libraries) {
        if (library.file.empty()) {
            return Error{
                ErrorCode::kNotFound,
                source.string() + " needs " + library.name + ", which is not on this machine" +
                    (is_of_the_system(library.name)
                         ? "; install its package (Debian 12 or Ubuntu 22.04 and newer have it)"
                         : "; unpack the whole archive, bin/ and lib/")};
        }
        if (is_of_the_system(library.name)) continue;
        EG_TRY(std::string content, read_file(library.file, kLargestFile));
        out.push_back({library_folder(options.prefix) / library.name, std::move(content), 0644});
    }
    EG_TRY(std::string binary, read_file(source, kLargestFile));
    // Last: an old binary runs with newer libraries of the same name, not the other way round.
    out.push_back({binary_path(options.prefix), std::move(binary), 0755});
    return out;
}

Result<Manifest> manifest_of(const NodeFiles& files) {
    EG_TRY(const std::optional<std::string> text, files.read(kManifestFile));
    if (!text) return Manifest{};
    return read_manifest(*text);
}

// True when it changed.
Result<bool> write_conf(const InstallOptions& options, NodeFiles& files) {
    EG_TRY(const std::optional<std::string> before, files.read(kAgentConfFile));
    std::string text = before.value_or(fresh_agent_conf());
    const std::pair<const char*, const std::optional<std::string>&> wanted[] = {
        {kConfNodeName, options.node_name},
        {kConfKubeconfig, options.kubeconfig},
        {kConfFlags, options.agent_flags}};
    for (const auto& [key, value] : wanted) {
        if (value && conf_value(text, key) != *value) text = with_conf_value(text, key, *value);
    }
    EG_TRY(
        const bool changed, files.write(kAgentConfFile, text, files.mode_of(kAgentConfFile, 0644))
    );
    if (conf_value(text, kConfKubeconfig).value_or("").empty()) {
        files.say(
            "note: " + std::string(kAgentConfFile) +
            " names no KUBECONFIG: the agent will serve the kubelet only; "
            "--kubeconfig sets it"
        );
    }
    return changed;
}

// One that is not there yet is for later (a node that has still to join); a broken one is a
// mistake.
Status check_kubeconfig(const InstallOptions& options, const NodeFiles& files) {
    if (!options.kubeconfig) return ok_status();
    if (!files.exists(*options.kubeconfig)) {
        files.say(
            "note: " + *options.kubeconfig + " is not there yet; the agent looks for it every 15 s"
        );
        return ok_status();
    }
    EG_TRY(const fs::path file, files.on_disk(*options.kubeconfig));
    const auto config = k8s::load_kubeconfig(file);
    return config ? ok_status() : Status(config.error().wrap("--kubeconfig"));
}

std::set<fs::path> unit_links(const std::string& unit) {
    std::set<fs::path> out;
    for (const std::string& name : wanted_by(unit))
        out.insert(fs::path(kUnitFolder) / (name + ".wants") / kUnitName);
    return out;
}

// Every library that was carried along must be found where it was put.
Status check_installed(const InstallOptions& options, const NodeFiles& files) {
    EG_TRY(const fs::path binary, files.on_disk(binary_path(options.prefix)));
    EG_TRY(const fs::path folder, files.on_disk(library_folder(options.prefix)));
    EG_TRY(const std::vector<SharedLibrary> libraries, list_libraries(binary));
    for (const SharedLibrary& library : libraries) {
        if (is_of_the_system(library.name)) continue;
        std::error_code ignored;
        if (fs::equivalent(library.file.parent_path(), folder, ignored)) continue;
        return Error{
            ErrorCode::kInvalid,
            binary.string() + " does not look for " + library.name + " in " + folder.string() +
                ": it was not linked for installing; use the edge-gpu of a release"};
    }
    return ok_status();
}

Status start(const Systemd& systemd, const NodeFiles& files, bool changed) {
    if (!systemd.running) {
        files.say(
            files.root() == "/"
                ? "systemd does not run here: start `edge-gpu agent` yourself, before the kubelet"
                : "the unit starts when the system in " + files.root().string() + " boots"
        );
        return ok_status();
    }
    const std::string verb = changed ? "restart" : "start";
    if (files.dry_run()) {
        files.say("would run systemctl daemon-reload, systemctl " + verb + " " + kUnitName);
        return ok_status();
    }
    EG_TRY_VOID(systemd.call({"daemon-reload"}));
    if (!changed) EG_TRY_VOID(systemd.call({"start", kUnitName}));
    if (changed) EG_TRY_VOID(systemd.restart_and_watch(kUnitName));
    files.say(std::string(kUnitName) + " is running");
    return ok_status();
}

}  // namespace

Status install(const InstallOptions& options, const Systemd& systemd, const Say& say) {
    NodeFiles files(options.root, options.dry_run, say);
    EG_TRY(const std::vector<Payload> payload, payload_of(options));
    EG_TRY_VOID(check_kubeconfig(options, files));
    EG_TRY(const Manifest before, manifest_of(files));
    const std::string unit = agent_unit_for(options.prefix);
    const fs::path unit_file = fs::path(kUnitFolder) / kUnitName;

    Manifest now{kVersion, unit_links(unit)};
    now.files.insert(unit_file);
    for (const Payload& one : payload) now.files.insert(one.path);
    // An install that is cut off leaves a manifest that names at least what it wrote.
    Manifest both = now;
    both.files.insert(before.files.begin(), before.files.end());
    NodeFiles silent(options.root, options.dry_run, [](const std::string&) {});
    const auto record = [&](const Manifest& manifest) -> Status {
        const auto written = silent.write(kManifestFile, write_manifest(manifest), 0644);
        return written ? ok_status() : Status(written.error());
    };
    EG_TRY_VOID(record(both));

    bool changed = false;
    const auto note = [&](const Result<bool>& done) -> Status {
        if (!done) return done.error();
        changed = changed || *done;
        return ok_status();
    };
    for (const Payload& one : payload)
        EG_TRY_VOID(note(files.write(one.path, one.content, one.mode)));
    EG_TRY_VOID(note(write_conf(options, files)));
    EG_TRY_VOID(note(files.write(unit_file, unit, 0644)));
    for (const fs::path& link : unit_links(unit)) EG_TRY_VOID(note(files.link(link, unit_file)));
    for (const fs::path& file : before.files) {
        if (now.files.contains(file)) continue;
        EG_TRY_VOID(note(files.remove(file)));
        if (is_own_folder(file.parent_path()))
            EG_TRY_VOID(files.remove_if_empty(file.parent_path()));
    }
    EG_TRY_VOID(record(now));
    if (!options.dry_run) EG_TRY_VOID(check_installed(options, files));
    return start(systemd, files, changed);
}

}  // namespace egpu::cli
