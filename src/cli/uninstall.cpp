#include "cli/agent_unit.h"
#include "cli/install.h"
#include "cli/manifest.h"
#include "cli/node_paths.h"

namespace egpu::cli {
namespace {

namespace fs = std::filesystem;

Status stop_unit(const Systemd& systemd, const NodeFiles& files) {
    if (!systemd.running || !files.exists(fs::path(kUnitFolder) / kUnitName)) return ok_status();
    if (files.dry_run()) {
        files.say(std::string("would run systemctl stop ") + kUnitName);
        return ok_status();
    }
    EG_TRY_VOID(systemd.call({"stop", kUnitName}));
    files.say(std::string("stopped ") + kUnitName);
    return ok_status();
}

Status remove_files(const Manifest& manifest, NodeFiles& files) {
    for (const fs::path& file : manifest.files) {
        EG_TRY_VOID(files.remove(file));
        EG_TRY_VOID(remove_own_folders(file, files));
    }
    return ok_status();
}

Status purge(NodeFiles& files) {
    EG_TRY_VOID(files.remove(kAgentConfFile));
    return files.remove_tree(kStateFolder);
}

}  // namespace

Status uninstall(const UninstallOptions& options, const Systemd& systemd, const Say& say) {
    NodeFiles files(options.root, options.dry_run, say);
    EG_TRY(const std::optional<std::string> text, files.read(kManifestFile));
    if (!text) {
        say(std::string("nothing is installed: there is no ") + kManifestFile);
    } else {
        EG_TRY(const Manifest manifest, read_manifest(*text));
        EG_TRY_VOID(stop_unit(systemd, files));
        EG_TRY_VOID(remove_files(manifest, files));
        if (systemd.running && !options.dry_run) EG_TRY_VOID(systemd.call({"daemon-reload"}));
    }
    if (options.purge) EG_TRY_VOID(purge(files));
    // Last: an uninstall that is cut off can be run again.
    EG_TRY_VOID(files.remove(kManifestFile));
    EG_TRY_VOID(files.remove_if_empty(kConfigFolder));
    for (const char* kept : {kAgentConfFile, kStateFolder}) {
        if (!options.purge && files.exists(kept))
            say(std::string("kept ") + kept + " (--purge removes it)");
    }
    return ok_status();
}

}  // namespace egpu::cli
