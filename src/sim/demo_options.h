// Flags of `edge-gpu demo`. Errors are one sentence; 2 is the exit status for them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace egpu::sim {

struct DemoOptions {
    bool once = false;
    bool keep_folder = false;
    bool plain_http = false;
    int port = 0;
    std::string policy = "binpack";
    std::string cache_mode = "names";  // or "nodes"
    std::filesystem::path log_folder;
    std::filesystem::path nvml_library;
    std::string help;  // not "": print it and exit 0
};

Result<DemoOptions> parse_demo_options(const std::vector<std::string>& arguments);

}  // namespace egpu::sim
