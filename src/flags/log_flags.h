// The flags of the long-running commands that say how they log: ours (--log-level, --log-format)
// and klog's, which the command lines of the Go programs we replace carry.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace egpu::flags {

// Declares the flags on an app, holds what was given, and checks it. Must outlive the app's parse.
class LogFlags {
  public:
    void declare(CLI::App& app);
    // An explicit --log-level wins; else klog's --v from 4 up is debug, else info.
    Status apply(log::Level& level, log::Format& format) const;
    // A sentence for each of klog's flags that was given: they say where its log goes, and ours
    // goes to standard error whatever they say. Only while the app is alive.
    std::vector<std::string> notes() const;

  private:
    std::string level_;
    std::string format_ = "logfmt";
    std::string verbosity_;
    std::map<std::string, std::string, std::less<>> ignored_values_;
    std::vector<std::pair<std::string, const CLI::Option*>> ignored_;
};

}  // namespace egpu::flags
