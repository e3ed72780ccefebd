#include "base/version.h"
#include "doctor/render.h"

namespace egpu::doctor {
namespace {

constexpr int kSchemaVersion = 1;

json::value finding_json(const Finding& finding) {
    json::object out;
    out["id"] = finding.id;
    out["severity"] = to_string(finding.severity);
    out["lookedAt"] = finding.looked_at;
    out["found"] = finding.found;
    out["meaning"] = finding.meaning;
    out["fix"] = finding.fix;
    out["automatic"] = finding.repair.has_value();
    return out;
}

const char* verdict_word(const Report& report) {
    switch (exit_code(report)) {
        case 0:
            return "ready";
        case 1:
            return "warnings";
        case kExitNoGpu:
            return "no-gpu";
        default:
            return "errors";
    }
}

}  // namespace

json::value render_json(const Report& report) {
    json::object out;
    out["version"] = kSchemaVersion;
    out["edgeGpu"] = kVersion;
    out["node"] = report.node;
    out["root"] = report.root;
    out["verdict"] = verdict_word(report);
    out["errors"] = report.count(Severity::kError);
    out["warnings"] = report.count(Severity::kWarning);
    out["summary"] = verdict(report);
    json::array checks;
    for (const CheckResult& check : report.checks) {
        json::object one;
        one["id"] = check.id;
        one["title"] = check.title;
        one["group"] = check.group;
        one["state"] = check.skipped.empty() ? to_string(check.severity()) : "skipped";
        if (!check.skipped.empty()) one["notChecked"] = check.skipped;
        json::array findings;
        for (const Finding& finding : check.findings) findings.push_back(finding_json(finding));
        one["findings"] = std::move(findings);
        checks.push_back(std::move(one));
    }
    out["checks"] = std::move(checks);
    return out;
}

}  // namespace egpu::doctor
