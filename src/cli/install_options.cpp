#include <algorithm>

#include <CLI/CLI.hpp>

#include "cli/agent_conf.h"
#include "cli/install.h"
#include "flags/command_line.h"
#include "flags/values.h"

namespace egpu::cli {
namespace {

using flags::bad_value;

constexpr const char* kInstallFooter =
    "\nWrites PREFIX/bin/edge-gpu, the shared libraries that a bare node lacks to "
    "PREFIX/lib/edge-gpu,\n"
    "/etc/systemd/system/edge-gpu-agent.service and, once, /etc/edge-gpu/agent.conf; enables and "
    "starts the\n"
    "unit. Run it again to upgrade. /etc/edge-gpu/installed.json says what was written.\n";

Status check_folder(std::string_view flag, const std::filesystem::path& path) {
    const std::string text = path.string();
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("/._+-").find(c) != std::string_view::npos;
    });
    // It goes into the unit, where systemd would take blanks, quotes and % for something else.
    if (path.is_absolute() && plain && path.lexically_normal() == path && !text.ends_with('/'))
        return ok_status();
    return bad_value(
        flag, text, "an absolute folder of letters, digits and ._+- without a slash at its end"
    );
}

Status check_root(const std::filesystem::path& root) {
    std::error_code ignored;
    if (root.is_absolute() && std::filesystem::is_directory(root, ignored)) return ok_status();
    return bad_value("root", root.string(), "an absolute folder that is there");
}

}  // namespace

Result<InstallOptions> parse_install_options(const std::vector<std::string>& arguments) {
    InstallOptions options;
    std::string root = "/", prefix, binary, kubeconfig, node_name, agent_flags;
    CLI::App app{
        "Installs the agent on this node as a systemd unit that starts before the kubelet, so that "
        "GPU pods survive a reboot without the cloud.",
        "edge-gpu install"};
    app.footer(kInstallFooter);
    app.add_option(
        "--kubeconfig", kubeconfig, "how the agent reaches the API server; goes into agent.conf"
    );
    app.add_option(
        "--node-name",
        node_name,
        "name of this Node when it is not the host's; goes into agent.conf"
    );
    app.add_option(
        "--agent-flags",
        agent_flags,
        "more flags of edge-gpu agent, in one argument; go into agent.conf"
    );
    app.add_option("--binary", binary, "the edge-gpu to install; default: the running one");
    app.add_option(
        "--prefix",
        prefix,
        "where bin/ and lib/ are; default: /usr/local, for the program of the archive for nodes "
        "the place it is made for"
    );
    app.add_option(
           "--root", root, "install into this folder, an image's root, and leave systemd alone"
    )
        ->default_str(root);
    app.add_flag("--dry-run", options.dry_run, "say what would be done");
    EG_TRY(options.help, flags::parse(app, arguments));
    if (!options.help.empty()) return options;
    options.root = std::filesystem::path(root).lexically_normal();
    options.binary = binary;
    EG_TRY_VOID(check_root(options.root));
    if (app.count("--prefix") > 0) {
        EG_TRY_VOID(check_folder("prefix", prefix));
        options.prefix = prefix;
    }
    if (app.count("--kubeconfig") > 0) {
        if (!std::filesystem::path(kubeconfig).is_absolute())
            return bad_value("kubeconfig", kubeconfig, "an absolute path");
        EG_TRY_VOID(check_conf_value("kubeconfig", kubeconfig));
        options.kubeconfig = kubeconfig;
    }
    if (app.count("--node-name") > 0) {
        if (!flags::is_node_name(node_name))
            return bad_value("node-name", node_name, flags::kNodeName);
        options.node_name = node_name;
    }
    if (app.count("--agent-flags") > 0) {
        EG_TRY_VOID(check_conf_value("agent-flags", agent_flags));
        options.agent_flags = agent_flags;
    }
    return options;
}

Result<UninstallOptions> parse_uninstall_options(const std::vector<std::string>& arguments) {
    UninstallOptions options;
    std::string root = "/";
    CLI::App app{
        "Stops the agent on this node and removes what edge-gpu install wrote. Containers that run "
        "keep their cards.",
        "edge-gpu uninstall"};
    app.add_flag(
        "--purge",
        options.purge,
        "also remove /etc/edge-gpu/agent.conf and the state in /var/lib/edge-gpu"
    );
    app.add_option(
           "--root", root, "uninstall from this folder, an image's root, and leave systemd alone"
    )
        ->default_str(root);
    app.add_flag("--dry-run", options.dry_run, "say what would be done");
    EG_TRY(options.help, flags::parse(app, arguments));
    options.root = std::filesystem::path(root).lexically_normal();
    if (options.help.empty()) EG_TRY_VOID(check_root(options.root));
    return options;
}

}  // namespace egpu::cli
