// `edge-gpu install` and `edge-gpu uninstall`: the agent as a systemd unit of this node.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/node_files.h"
#include "cli/systemd.h"

namespace egpu::cli {

struct InstallOptions {
    std::filesystem::path root = "/";
    std::optional<std::filesystem::path>
        prefix;                    // /usr/local, or what a self-contained program says
    std::filesystem::path binary;  // "": the running one
    // Set in agent.conf when given; what is there stays otherwise.
    std::optional<std::string> kubeconfig;
    std::optional<std::string> node_name;
    std::optional<std::string> agent_flags;
    bool dry_run = false;
    std::string help;  // not "": print it and exit 0
};

struct UninstallOptions {
    std::filesystem::path root = "/";
    bool purge = false;  // agent.conf and the agent's state, too
    bool dry_run = false;
    std::string help;
};

// Without the program's name. Errors are one sentence that names the flag.
Result<InstallOptions> parse_install_options(const std::vector<std::string>& arguments);
Result<UninstallOptions> parse_uninstall_options(const std::vector<std::string>& arguments);

// Writes the binary and the libraries it carries along (cli/payload.h), the unit, its links and,
// once, agent.conf; then starts the unit when `systemd` runs, or restarts it when something
// changed. A second run with the same arguments changes nothing; one that was cut off is finished
// by the next. Libraries of an earlier version that are needed no more are removed.
Status install(const InstallOptions& options, const Systemd& systemd, const Say& say);

// Stops the unit and removes what install wrote. No error when nothing is installed.
Status uninstall(const UninstallOptions& options, const Systemd& systemd, const Say& say);

// The commands. The exit status: 0, 1 when something failed, 2 for wrong flags.
int run_install(int argc, char** argv);
int run_uninstall(int argc, char** argv);

}  // namespace egpu::cli
