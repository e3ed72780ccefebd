// Flags, environment variables and configuration file of NVIDIA's device plugin, as `edge-gpu
// agent` takes them: flag before variable before file. What cannot be honoured is an error, or a
// note that is logged; nothing is dropped silently.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "agent/options.h"
#include "base/result.h"

namespace CLI {
class App;
}  // namespace CLI

namespace egpu::agent {

class NvidiaOptions {
  public:
    void declare(CLI::App& app);
    // Right after the command line was parsed: the app may go afterwards.
    void remember_given(const CLI::App& app);
    // Reads the configuration file.
    Status apply(const Environment& environment, Options& options);

  private:
    // The value given by any source.
    std::optional<std::string> given(const std::string& flag) const;
    std::string value(const std::string& flag, const std::string& otherwise) const;
    Result<bool> boolean(const std::string& flag, bool otherwise) const;
    Status read_config_file(Options& options);
    Status apply_paths(Options& options) const;
    Status apply_strategies(Options& options) const;
    Status apply_hardware(Options& options) const;
    Status apply_without_effect(Options& options) const;

    std::map<std::string, std::string> raw_;
    std::set<std::string> on_command_line_;
    Environment environment_;
    std::map<std::string, std::string> from_file_;
};

}  // namespace egpu::agent
