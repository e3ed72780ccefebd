// What the doctor says: findings, grouped by the check that made them. Pure data.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace egpu::doctor {

enum class Severity { kOk, kInfo, kWarning, kError };

// "ok", "info", "warning", "error"
std::string_view to_string(Severity severity);

// What `--fix` can do about a finding. Each kind is safe to repeat.
enum class Repair {
    kDeviceNodes,    // make missing /dev/nvidia* as nvidia-modprobe would
    kDevCharLinks,   // make missing /dev/char/MAJOR:MINOR links
    kCdiSpec,        // write our own CDI spec anew
    kContainerdCdi,  // switch CDI on in containerd's configuration
};

struct Finding {
    // Stable and documented in docs/doctor.md: "driver-library-mismatch".
    std::string id;
    Severity severity = Severity::kOk;
    std::string looked_at;  // the file, socket or question
    std::string found;
    std::string meaning;  // what it means for GPU pods; "" where `found` says it all
    std::string fix;      // commands or edits, one a line, to be copied; "" for none
    std::optional<Repair> repair;
};

struct CheckResult {
    std::string id;     // "nvml"
    std::string title;  // "NVML answers"
    std::string group;  // "Driver"
    std::vector<Finding> findings;
    std::string skipped;   // not "": the check did not run, and why
    bool blocked = false;  // skipped because the cause was named by an earlier check

    Severity severity() const;  // the worst of its findings; kOk when there is none
};

struct Report {
    std::string node;  // name of the node; "" unknown
    std::string root;
    bool has_gpu = true;
    std::vector<CheckResult> checks;

    Severity severity() const;
    int count(Severity severity) const;
    const Finding* find(std::string_view id) const;
};

// 0 nothing above info, 1 warnings, 2 errors, 4 no NVIDIA GPU on this machine. (3: the doctor
// itself could not work.)
int exit_code(const Report& report);
inline constexpr int kExitFailed = 3;
inline constexpr int kExitNoGpu = 4;

}  // namespace egpu::doctor
