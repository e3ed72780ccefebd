#include "doctor/finding.h"

#include <algorithm>

namespace egpu::doctor {

std::string_view to_string(Severity severity) {
    switch (severity) {
        case Severity::kOk:
            return "ok";
        case Severity::kInfo:
            return "info";
        case Severity::kWarning:
            return "warning";
        case Severity::kError:
            return "error";
    }
    return "error";
}

Severity CheckResult::severity() const {
    Severity worst = Severity::kOk;
    for (const Finding& finding : findings) worst = std::max(worst, finding.severity);
    return worst;
}

Severity Report::severity() const {
    Severity worst = Severity::kOk;
    for (const CheckResult& check : checks) worst = std::max(worst, check.severity());
    return worst;
}

int Report::count(Severity severity) const {
    int n = 0;
    for (const CheckResult& check : checks) {
        for (const Finding& finding : check.findings) n += finding.severity == severity ? 1 : 0;
    }
    return n;
}

const Finding* Report::find(std::string_view id) const {
    for (const CheckResult& check : checks) {
        for (const Finding& finding : check.findings) {
            if (finding.id == id) return &finding;
        }
    }
    return nullptr;
}

int exit_code(const Report& report) {
    switch (report.severity()) {
        case Severity::kError:
            return 2;
        case Severity::kWarning:
            return 1;
        default:
            return report.has_gpu ? 0 : kExitNoGpu;
    }
}

}  // namespace egpu::doctor
