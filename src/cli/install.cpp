#include "cli/install.h"

#include <map>
#include <sstream>
#include <utility>

#include "base/child.h"
#include "base/version.h"
#include "cli/agent_conf.h"
#include "cli/agent_unit.h"
#include "cli/manifest.h"
#include "cli/node_paths.h"
#include "cli/payload.h"
#include "k8s/kubeconfig.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

Result<Manifest> manifest_of(const NodeFiles& files) {
    EG_TRY(const std::optional<std::string> text, files.read(kManifestFile));
    if (!text) return Manifest{};
    return read_manifest(*text);
}

// agent.conf as it will be.
Result<std::string> conf_text(const InstallOptions& options, const NodeFiles& files) {
    EG_TRY(const std::optional<std::string> before, files.read(kAgentConfFile));
    std::string text = before.value_or(fresh_agent_conf());
    const std::pair<const char*, const std::optional<std::string>&> wanted[] = {
        {kConfNodeName, options.node_name},
        {kConfKubeconfig, options.kubeconfig},
        {kConfFlags, options.agent_flags}};
    for (const auto& [key, value] : wanted) {
        if (value && conf_value(text, key) != *value) text = with_conf_value(text, key, *value);
    }
    if (conf_value(text, kConfKubeconfig).value_or("").empty()) {
        files.say(
            "note: " + std::string(kAgentConfFile) +
            " names no KUBECONFIG: the agent will serve the kubelet only; --kubeconfig sets it"
        );
    }
    return text;
}

// Asks the program itself, before anything is changed: an agent that works is not stopped for a
// typing mistake, or for a flag that the new version has no more.
Status check_agent_accepts(const fs::path& program, const std::string& conf) {
    const std::string flags = conf_value(conf, kConfFlags).value_or("");
    if (!check_conf_value("agent-flags", flags))
        return ok_status();  // quoted by hand: systemd's to split
    std::vector<std::string> command{program.string(), "agent"};
    std::istringstream words(flags);
    for (std::string word; words >> word;) command.push_back(word);
    command.emplace_back("--print-config");
    ChildOptions child;
    child.limit = Seconds(20);
    child.environment = conf_environment(conf);
    const auto ran = run_program(command, child);
    // One that cannot run here (its loader is elsewhere: an image is made) is not asked.
    if (!ran || ran->exit_status == 0) return ok_status();
    return Error{
        ErrorCode::kInvalid,
        "the agent refuses what " + std::string(kAgentConfFile) + " would say: " + ran->output};
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

// Link -> target: what enables the unit.
std::map<fs::path, fs::path> unit_links(const std::string& unit, const fs::path& unit_file) {
    std::map<fs::path, fs::path> out;
    for (const std::string& name : wanted_by(unit)) {
        out[fs::path(kUnitFolder) / (name + ".wants") / kUnitName] = unit_file;
    }
    return out;
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

// The program of the archive runs from /opt/edge-gpu; people type `edge-gpu`. A file of somebody
// else stays.
bool wants_link_in_path(const Payload& payload, const Manifest& before, const NodeFiles& files) {
    if (!payload.self_contained || binary_path(payload.prefix) == kLinkInPath) return false;
    return before.files.contains(kLinkInPath) || !files.exists(kLinkInPath);
}

}  // namespace

Status install(const InstallOptions& options, const Systemd& systemd, const Say& say) {
    NodeFiles files(options.root, options.dry_run, say);
    EG_TRY(const Payload payload, payload_of(options.binary, options.prefix, files));
    EG_TRY_VOID(check_kubeconfig(options, files));
    EG_TRY(const std::string conf, conf_text(options, files));
    EG_TRY_VOID(check_agent_accepts(payload.source, conf));
    EG_TRY(const Manifest before, manifest_of(files));
    const std::string unit = agent_unit_for(payload.prefix);
    const fs::path unit_file = fs::path(kUnitFolder) / kUnitName;
    std::map<fs::path, fs::path> links = unit_links(unit, unit_file);
    if (wants_link_in_path(payload, before, files))
        links[kLinkInPath] = binary_path(payload.prefix);

    Manifest now{kVersion, payload.checksum, {unit_file}};
    for (const PayloadFile& file : payload.files) now.files.insert(file.path);
    for (const auto& [link, target] : links) now.files.insert(link);
    // An install that is cut off leaves a manifest that names at least what it wrote, and the old
    // checksum: the next one restarts the unit.
    NodeFiles silent(options.root, options.dry_run, [](const std::string&) {});
    const auto record = [&](const Manifest& manifest) -> Status {
        const auto written = silent.write(kManifestFile, write_manifest(manifest), 0644);
        return written ? ok_status() : Status(written.error());
    };
    Manifest both = before;
    both.files.insert(now.files.begin(), now.files.end());
    if (both.files != before.files) EG_TRY_VOID(record(both));

    bool changed = before.checksum != now.checksum;
    const auto note = [&](const Result<bool>& done) -> Status {
        if (!done) return done.error();
        changed = changed || *done;
        return ok_status();
    };
    for (const PayloadFile& file : payload.files) {
        EG_TRY_VOID(note(files.write(file.path, file.content, file.mode)));
    }
    EG_TRY_VOID(note(files.write(kAgentConfFile, conf, files.mode_of(kAgentConfFile, 0644))));
    EG_TRY_VOID(note(files.write(unit_file, unit, 0644)));
    for (const auto& [link, target] : links) EG_TRY_VOID(note(files.link(link, target)));
    for (const fs::path& file : before.files) {
        if (now.files.contains(file)) continue;
        EG_TRY_VOID(note(files.remove(file)));
        EG_TRY_VOID(remove_own_folders(file, files));
    }
    if (!options.dry_run) EG_TRY_VOID(check_payload(payload, files));
    EG_TRY_VOID(start(systemd, files, changed));
    return record(now);
}

}  // namespace egpu::cli
