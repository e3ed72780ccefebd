#include "cli/systemd.h"

#include <thread>

#include "base/child.h"

namespace egpu::cli {
namespace {

constexpr Duration kDeadline = Seconds(60);

Result<std::string> run(const std::string& program, const std::vector<std::string>& arguments) {
    std::vector<std::string> command{program};
    command.insert(command.end(), arguments.begin(), arguments.end());
    ChildOptions child;
    child.limit = kDeadline;
    EG_TRY(ChildResult ran, run_program(command, child));
    if (!ran.timed_out && ran.exit_status == 0) return std::move(ran.output);
    std::string text;
    for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
    if (ran.timed_out) {
        const auto seconds = std::chrono::duration_cast<Seconds>(kDeadline).count();
        return Error{
            ErrorCode::kDeadline, text + " has not ended in " + std::to_string(seconds) + " s"};
    }
    while (ran.output.ends_with('\n')) ran.output.pop_back();
    return Error{
        ErrorCode::kUnavailable,
        text + " failed with status " + std::to_string(ran.exit_status) +
            (ran.output.empty() ? "" : ": " + ran.output)};
}

}  // namespace

Systemd Systemd::for_root(const std::filesystem::path& root) {
    Systemd out;
    std::error_code ignored;
    out.running = root == "/" && std::filesystem::is_directory("/run/systemd/system", ignored);
    // Before /bin and /usr/bin were merged it was in /bin.
    if (!std::filesystem::exists(out.systemctl, ignored)) out.systemctl = "/bin/systemctl";
    return out;
}

Status Systemd::call(const std::vector<std::string>& arguments) const {
    const auto ran = run(systemctl, arguments);
    return ran ? ok_status() : Status(ran.error());
}

Status Systemd::restart_and_watch(const std::string& unit) const {
    EG_TRY_VOID(call({"restart", unit}));
    std::this_thread::sleep_for(settle);
    EG_TRY(
        const std::string state, run(systemctl, {"show", "--property=ActiveState,NRestarts", unit})
    );
    const bool up = state.find("ActiveState=active\n") != std::string::npos &&
                    state.find("NRestarts=0\n") != std::string::npos;
    if (up) return ok_status();
    return Error{
        ErrorCode::kUnavailable,
        unit + " does not stay up; its log says why: journalctl --unit=" + unit + " --lines=20"};
}

}  // namespace egpu::cli
