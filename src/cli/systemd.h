// The running systemd of this machine, through systemctl. Each call has a deadline.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::cli {

struct Systemd {
    bool running = false;  // is it this machine's init?
    std::string systemctl = "/usr/bin/systemctl";
    Duration settle = Seconds(2);  // how long the agent must stay up after a restart

    // As found on this machine; never running for a root other than "/".
    static Systemd for_root(const std::filesystem::path& root);

    // `systemctl ARGUMENTS`; its output is in the error.
    Status call(const std::vector<std::string>& arguments) const;
    // Restarts the unit and waits `settle`; kUnavailable when it does not stay up.
    Status restart_and_watch(const std::string& unit) const;
};

}  // namespace egpu::cli
