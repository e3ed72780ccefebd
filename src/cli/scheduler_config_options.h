// Flags of `edge-gpu scheduler-config`. Errors are one sentence that names the flag. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/render_config.h"

namespace egpu::cli {

struct SchedulerConfigOptions {
    std::string check_file;    // not "": check that file instead of printing one
    std::optional<int> minor;  // --kubernetes; always there when printing
    bool json = false;         // -o json, with --check
    bool policy = false;       // print a Policy
    ConfigSettings settings;
    std::string help;  // not "": print it and exit 0
};

Result<SchedulerConfigOptions> parse_scheduler_config_options(
    const std::vector<std::string>& arguments
);

}  // namespace egpu::cli
