#include "doctor/app.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "doctor/check.h"
#include "doctor/gather.h"
#include "doctor/options.h"
#include "doctor/render.h"
#include "doctor/repair.h"
#include "doctor/smoke.h"
#include "flags/command_line.h"

namespace egpu::doctor {
namespace {

TextStyle style_for_stdout(bool verbose) {
    TextStyle style;
    style.verbose = verbose;
    if (::isatty(STDOUT_FILENO) == 0) return style;
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    const bool dumb = term == nullptr || std::string_view(term) == "dumb";
    style.colour = (no_color == nullptr || *no_color == 0) && !dumb;
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) style.width = size.ws_col;
    return style;
}

std::string backup_suffix() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "before-%Y%m%dT%H%M%SZ", &parts);
    return text;
}

// On standard error, so that -o json stays JSON.
bool agreed(const PlannedRepair& repair, const Options& options) {
    std::fprintf(stderr, "%s:\n%s", repair.title.c_str(), repair.preview.c_str());
    if (options.yes) return true;
    if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) {
        std::fputs("not done: no terminal to ask on; --yes says yes\n", stderr);
        return false;
    }
    std::fputs("do this? [y/N] ", stderr);
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
}

// True when something was changed.
bool repair(const Report& report, const Facts& facts, const Options& options) {
    const RepairPlan plan =
        plan_repairs(report, facts, {backup_suffix(), options.gather.nvml_library});
    for (const std::string& note : plan.notes)
        std::fprintf(stderr, "not repaired: %s\n", note.c_str());
    if (plan.repairs.empty())
        std::fputs("--fix: nothing that can be repaired automatically\n", stderr);
    bool changed = false;
    for (const PlannedRepair& each : plan.repairs) {
        if (!agreed(each, options)) continue;
        const Status done = each.apply();
        changed = true;  // in part, perhaps
        if (!done) {
            std::fprintf(stderr, "failed: %s\n", done.error().message.c_str());
        } else {
            std::fprintf(
                stderr, "done%s%s\n", each.after.empty() ? "" : "; now run: ", each.after.c_str()
            );
        }
    }
    return changed;
}

}  // namespace

int run_doctor(int argc, char** argv) {
    const auto options = parse_options(flags::without_program(argc, argv));
    if (!options) {
        std::fprintf(stderr, "edge-gpu doctor: %s\n", options.error().message.c_str());
        return kExitFailed;
    }
    if (!options->help.empty()) {
        std::fputs(options->help.c_str(), stdout);
        return 0;
    }
    // What the injection code has to say goes into findings.
    log::configure("doctor", log::Level::kError, log::Format::kLogfmt);
    const HostView files(options->gather.root);
    if (const auto listed = files.list("/"); !listed) {
        std::fprintf(
            stderr,
            "edge-gpu doctor: --root %s: %s\n",
            options->gather.root.c_str(),
            listed.error().message.c_str()
        );
        return kExitFailed;
    }
    Facts facts = gather(files, options->gather);
    Report report = run_checks(facts);
    if (options->fix && repair(report, facts, *options)) {
        facts = gather(files, options->gather);
        report = run_checks(facts);
    }
    if (options->smoke) {
        SmokeOptions smoke;
        smoke.nvml_library = options->gather.nvml_library;
        report.checks.push_back(run_smoke(report, facts, smoke));
    }
    const std::string text = options->as_json
                                 ? json::to_text(render_json(report)) + "\n"
                                 : render_text(report, style_for_stdout(options->verbose));
    std::fputs(text.c_str(), stdout);
    return exit_code(report);
}

}  // namespace egpu::doctor
