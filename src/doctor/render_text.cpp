#include <algorithm>
#include <string_view>

#include "doctor/render.h"

namespace egpu::doctor {
namespace {

constexpr std::size_t kTitleWidth = 28;
constexpr std::size_t kIndent = 8;
constexpr std::size_t kLabel = 8;

constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kBlue = "\x1b[34m";
constexpr const char* kDim = "\x1b[2m";
constexpr const char* kBold = "\x1b[1m";
constexpr const char* kPlain = "\x1b[0m";

// Columns of UTF-8 text; nothing wide is printed here.
std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

// Found texts come from files and other programs: nothing of them may steer a terminal.
std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
    return out;
}

class Page {
  public:
    explicit Page(const TextStyle& style) : style_(style) {}

    std::string paint(const char* colour, std::string_view text) const {
        return style_.colour ? colour + std::string(text) + kPlain : std::string(text);
    }
    void line(std::string_view text) { out_.append(text).append("\n"); }
    // Words from column `indent` on; the first line begins after `first`, which is as wide.
    void prose(std::string first, std::size_t indent, std::string_view text) {
        std::string line = std::move(first);
        std::size_t used = indent;
        bool fresh = true;
        while (!text.empty()) {
            const std::size_t end = std::min(text.find(' '), text.size());
            const std::string_view word = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            const std::size_t wide = columns(word);
            const auto room = static_cast<std::size_t>(std::max(style_.width, 0));
            if (!fresh && room > indent + 20 && used + 1 + wide > room) {
                out_.append(line).append("\n");
                line.assign(indent, ' ');
                used = indent;
                fresh = true;
            }
            if (!fresh) {
                line += ' ';
                ++used;
            }
            line += word;
            used += wide;
            fresh = false;
        }
        out_.append(line).append("\n");
    }
    // `text` has lines that are copied: never wrapped.
    void verbatim(const std::string& first, std::size_t indent, std::string_view text) {
        std::string start = first;
        while (!text.empty()) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            line(start + printable(text.substr(0, end)));
            text.remove_prefix(std::min(end + 1, text.size()));
            start.assign(indent, ' ');
        }
    }
    std::string take() { return std::move(out_); }

  private:
    const TextStyle& style_;
    std::string out_;
};

std::string padded(std::string_view text, std::size_t width) {
    std::string out(text);
    const std::size_t used = columns(text);
    if (used < width) out.append(width - used, ' ');
    return out;
}

std::string mark(const Page& page, Severity severity) {
    switch (severity) {
        case Severity::kOk:
            return page.paint(kGreen, "  ok  ");
        case Severity::kInfo:
            return page.paint(kBlue, " info ");
        case Severity::kWarning:
            return page.paint(kYellow, " WARN ");
        case Severity::kError:
            return page.paint(kRed, " FAIL ");
    }
    return "      ";
}

void finding_lines(Page& page, const CheckResult& check, const Finding& finding, bool verbose) {
    const bool quiet = finding.severity == Severity::kOk && !verbose;
    const std::string found =
        quiet ? printable(finding.found) : printable(finding.looked_at + ": " + finding.found);
    page.prose(
        mark(page, finding.severity) + "  " + padded(check.title, kTitleWidth) + " ",
        kIndent + kTitleWidth + 1,
        found
    );
    if (quiet) return;
    const std::string indent(kIndent, ' ');
    if (!finding.meaning.empty()) {
        page.prose(
            indent + page.paint(kDim, padded("means", kLabel)),
            kIndent + kLabel,
            printable(finding.meaning)
        );
    }
    if (!finding.fix.empty()) {
        page.verbatim(
            indent + page.paint(kBold, padded("fix", kLabel)), kIndent + kLabel, finding.fix
        );
    }
}

std::string counted(int n, const char* word) {
    return std::to_string(n) + " " + word + (n == 1 ? "" : "s");
}

}  // namespace

std::string verdict(const Report& report) {
    const int errors = report.count(Severity::kError);
    const int warnings = report.count(Severity::kWarning);
    if (errors != 0) {
        return counted(errors, "error") +
               (warnings != 0 ? ", " + counted(warnings, "warning") : "") +
               ": GPU pods cannot run here as they should";
    }
    if (!report.has_gpu) {
        return (warnings != 0 ? counted(warnings, "warning") + "; " : "") +
               std::string("no NVIDIA GPU on this machine: nothing for edge-gpu to do");
    }
    if (warnings != 0)
        return counted(warnings, "warning") + ": GPU pods run here, with the limits above";
    return "ready: nothing keeps GPU pods from running here";
}

std::string render_text(const Report& report, const TextStyle& style) {
    Page page(style);
    std::string group;
    int skipped = 0;
    for (const CheckResult& check : report.checks) {
        if (!check.skipped.empty() && !style.verbose && (!check.blocked || !report.has_gpu)) {
            ++skipped;
            continue;
        }
        if (check.group != group) {
            if (!group.empty()) page.line("");
            group = check.group;
            page.line(page.paint(kBold, group));
        }
        if (!check.skipped.empty()) {
            page.prose(
                page.paint(kDim, "  --    " + padded(check.title, kTitleWidth) + " "),
                kIndent + kTitleWidth + 1,
                "not checked: " + check.skipped
            );
            continue;
        }
        for (const Finding& finding : check.findings)
            finding_lines(page, check, finding, style.verbose);
    }
    page.line("");
    if (skipped != 0 && report.has_gpu) {
        page.line(page.paint(
            kDim, counted(skipped, "check") + " had nothing to look at (--verbose lists them)"
        ));
    }
    const Severity worst = report.severity();
    const char* colour = worst == Severity::kError     ? kRed
                         : worst == Severity::kWarning ? kYellow
                                                       : kGreen;
    page.line(page.paint(colour, (report.node.empty() ? "" : report.node + ": ") + verdict(report))
    );
    return page.take();
}

}  // namespace egpu::doctor
