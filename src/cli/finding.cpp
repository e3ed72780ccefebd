#include "cli/finding.h"

#include <algorithm>

namespace egpu::cli {
namespace {

std::string counted(int number, std::string_view what) {
    return std::to_string(number) + " " + std::string(what) + (number == 1 ? "" : "s");
}

const char* word(Severity severity) {
    return severity == Severity::kError ? "error" : "warning";
}

}  // namespace

void Findings::error(
    std::string_view code, std::string_view path, int line, std::string message, std::string fix
) {
    all_.push_back(
        {Severity::kError,
         std::string(code),
         std::string(path),
         line,
         std::move(message),
         std::move(fix)}
    );
}

void Findings::warning(
    std::string_view code, std::string_view path, int line, std::string message, std::string fix
) {
    error(code, path, line, std::move(message), std::move(fix));
    all_.back().severity = Severity::kWarning;
}

int Findings::errors() const {
    return static_cast<int>(std::count_if(all_.begin(), all_.end(), [](const Finding& f) {
        return f.severity == Severity::kError;
    }));
}

void Findings::sort() {
    std::stable_sort(all_.begin(), all_.end(), [](const Finding& a, const Finding& b) {
        return a.line < b.line;
    });
}

std::string as_text(const Findings& findings, std::string_view file) {
    std::string out;
    for (const Finding& finding : findings.all()) {
        out += file;
        if (finding.line > 0) out += ":" + std::to_string(finding.line);
        out += std::string(": ") + word(finding.severity) + ": ";
        if (!finding.path.empty()) out += finding.path + ": ";
        out += finding.message + " [" + finding.code + "]\n    fix: " + finding.fix + "\n";
    }
    out += std::string(file) + ": " + counted(findings.errors(), "error") + ", " +
           counted(findings.warnings(), "warning") + "\n";
    return out;
}

json::array as_json(const Findings& findings) {
    json::array out;
    for (const Finding& finding : findings.all()) {
        out.push_back(json::object{
            {"severity", word(finding.severity)},
            {"code", finding.code},
            {"path", finding.path},
            {"line", finding.line},
            {"message", finding.message},
            {"fix", finding.fix}});
    }
    return out;
}

}  // namespace egpu::cli
