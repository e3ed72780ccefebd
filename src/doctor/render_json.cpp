#include "base/version.h"
#include "doctor/render.h"

namespace egpu::doctor {
namespace {

constexpr int kSchemaVersion = 1;

// Texts come from files and programs: bytes that are not UTF-8 must not get into the document.
json::value clean(std::string_view text) {
    std::string quoted;
    json::append_quoted(quoted, text);
    auto parsed = json::parse(quoted);
    return parsed ? std::move(*parsed) : json::value("");
}

json::value finding_json(const Finding& finding) {
    json::object out;
    out["id"] = finding.id;
    out["severity"] = to_string(finding.severity);
    out["lookedAt"] = clean(finding.looked_at);
    out["found"] = clean(finding.found);
    out["meaning"] = clean(finding.meaning);
    out["fix"] = clean(finding.fix);
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
    out["node"] = clean(report.node);
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
