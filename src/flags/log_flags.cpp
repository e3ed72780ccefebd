#include "flags/log_flags.h"

#include <CLI/CLI.hpp>

#include "flags/values.h"

namespace egpu::flags {
namespace {

constexpr int kDebugVerbosity = 4;  // klog: 4 and above is debugging

struct KlogFlag {
    const char* name;
    bool may_stand_alone;
};
constexpr KlogFlag kKlogFlags[] = {
    {"logtostderr", true},
    {"alsologtostderr", true},
    {"stderrthreshold", false},
    {"vmodule", false},
    {"log_dir", false},
    {"log_file", false},
    {"log_file_max_size", false},
    {"log_backtrace_at", false},
    {"skip_headers", true},
    {"skip_log_headers", true},
    {"add_dir_header", true},
    {"one_output", true}};

}  // namespace

void LogFlags::declare(CLI::App& app) {
    app.add_option("--log-level", level_, "debug, info, warn or error")->default_str("info");
    app.add_option("--log-format", format_, "logfmt or json")->default_str(format_);
    app.add_option("--v", verbosity_, "klog's verbosity: 4 and above is --log-level debug");
    for (const auto& [name, may_stand_alone] : kKlogFlags) {
        const std::string flag = std::string("--") + name;
        const CLI::Option* option = may_stand_alone
                                        ? app.add_flag(flag)->group("")
                                        : app.add_option(flag, ignored_values_[name])->group("");
        ignored_.emplace_back(flag, option);
    }
}

Status LogFlags::apply(log::Level& level, log::Format& format) const {
    level = log::Level::kInfo;
    if (!verbosity_.empty()) {
        const auto verbosity = to_number<int>(verbosity_);
        if (!verbosity) return bad_value("v", verbosity_, "a number");
        if (*verbosity >= kDebugVerbosity) level = log::Level::kDebug;
    }
    if (level_ == "debug") {
        level = log::Level::kDebug;
    } else if (level_ == "info") {
        level = log::Level::kInfo;
    } else if (level_ == "warn") {
        level = log::Level::kWarn;
    } else if (level_ == "error") {
        level = log::Level::kError;
    } else if (!level_.empty()) {
        return bad_value("log-level", level_, "one of debug, info, warn, error");
    }
    if (format_ != "json" && format_ != "logfmt") {
        return bad_value("log-format", format_, "logfmt or json");
    }
    format = format_ == "json" ? log::Format::kJson : log::Format::kLogfmt;
    return ok_status();
}

std::vector<std::string> LogFlags::notes() const {
    std::vector<std::string> out;
    for (const auto& [flag, option] : ignored_) {
        if (option->count() == 0) continue;
        out.push_back(flag + " has no effect: the log goes to standard error");
    }
    return out;
}

}  // namespace egpu::flags
