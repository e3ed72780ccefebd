#include "command.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "sim/process.h"

namespace egpu::e2e {

namespace fs = std::filesystem;

fs::path edge_gpu() {
    const char* named = ::getenv("EDGE_GPU_BINARY");
    return named != nullptr && *named != '\0' ? named : EDGE_GPU_BINARY;
}

Result<CommandResult> run_command(
    const fs::path& program,
    const std::vector<std::string>& arguments,
    const std::map<std::string, std::string>& environment,
    Duration deadline
) {
    const ScratchFolder scratch;
    sim::ProcessOptions options;
    options.executable = program;
    options.arguments = arguments;
    options.environment = environment;
    options.log_file = scratch.path() / "output";
    EG_TRY(sim::Process process, sim::Process::start(std::move(options)));
    auto status = process.wait(deadline);
    auto output = read_file(scratch.path() / "output");
    if (!status) return status.error().wrap(output ? *output : "");
    return CommandResult{*status, output ? *output : ""};
}

fs::path find_program(const std::string& name) {
    const char* path = ::getenv("PATH");
    std::string_view rest = path == nullptr ? "" : path;
    while (!rest.empty()) {
        const auto colon = std::min(rest.find(':'), rest.size());
        const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
        if (colon > 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
        rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    return {};
}

std::vector<std::string> processes_with(const std::string& text) {
    std::vector<std::string> out;
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator("/proc", failure)) {
        const std::string pid = entry.path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        if (pid == std::to_string(::getpid())) continue;
        auto command = read_file(entry.path() / "cmdline");
        auto environment = read_file(entry.path() / "environ");
        const bool found = (command && command->find(text) != std::string::npos) ||
                           (environment && environment->find(text) != std::string::npos);
        if (!found) continue;
        std::string line = command ? *command : "";
        std::replace(line.begin(), line.end(), '\0', ' ');
        out.push_back(pid + " " + line);
    }
    return out;
}

ScratchFolder::ScratchFolder() {
    char pattern[] = "/tmp/egpu-XXXXXX";
    EG_CHECK(::mkdtemp(pattern) != nullptr);
    path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

std::vector<std::string> ScratchFolder::entries() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path_)) out.push_back(entry.path().filename());
    return out;
}

}  // namespace egpu::e2e
