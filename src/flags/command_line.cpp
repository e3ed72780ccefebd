#include "flags/command_line.h"

#include <algorithm>
#include <exception>
#include <sstream>

#include <CLI/CLI.hpp>

namespace egpu::flags {
namespace {

// Go's flag package takes -name and --name alike and knows --name= as the empty value; CLI11 does
// neither.
std::vector<std::string> in_long_form(const std::vector<std::string>& arguments) {
    std::vector<std::string> out;
    out.reserve(arguments.size());
    bool verbatim = false;
    for (const std::string& argument : arguments) {
        verbatim = verbatim || argument == "--";
        if (verbatim || !argument.starts_with('-')) {
            out.push_back(argument);
            continue;
        }
        const bool number = argument.size() > 1 && argument[1] >= '0' && argument[1] <= '9';
        const bool single = argument.size() > 1 && argument[1] != '-' && !number;
        std::string full = argument == "-h" ? "--help" : single ? "-" + argument : argument;
        const bool empty_value = full.size() > 3 && full.find('=') == full.size() - 1;
        if (empty_value) full.pop_back();
        out.push_back(std::move(full));
        if (empty_value) out.emplace_back();
    }
    return out;
}

// CLI11's error as one sentence that names the flag.
Error flag_error(const CLI::ParseError& error, const std::vector<std::string>& arguments) {
    std::string message = error.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
        const std::size_t colon = message.rfind(": ");
        const std::string what = colon == std::string::npos ? message : message.substr(colon + 2);
        // CLI11 lists what it could not place, last first; the first such argument is the mistake.
        for (const std::string& argument : arguments) {
            if (what.find(argument) == std::string::npos) continue;
            message =
                (argument.starts_with("-") ? "unknown flag " : "unexpected argument ") + argument;
            break;
        }
    }
    return Error{ErrorCode::kInvalid, message + " (--help lists the flags)"};
}

constexpr std::size_t kHelpWidth = 100;
constexpr std::size_t kFooterWidth = 120;  // footers are written in lines of their own
constexpr std::size_t kDescriptions = 30;  // the column at which CLI11 starts them

// "  --output,--o TEXT  ..." as "  -o,--output TEXT  ...": CLI11 only knows the long form here.
std::string with_short_names_first(std::string line) {
    if (!line.starts_with("  --")) return line;
    const std::size_t end = std::min(line.find_first_of(" {=", 2), line.size());
    std::string short_names;
    std::string long_names;
    for (std::size_t at = 2; at < end;) {
        const std::size_t comma = std::min(line.find(',', at), end);
        const std::string name = line.substr(at, comma - at);
        if (name.size() == 3) {
            short_names += (short_names.empty() ? "" : ",") + name.substr(1);
        } else {
            long_names += (long_names.empty() ? "" : ",") + name;
        }
        at = comma + 1;
    }
    if (short_names.empty()) return line;
    const bool described = line.size() > kDescriptions && line[kDescriptions - 1] == ' ';
    const std::string comma = long_names.empty() ? "" : ",";
    line.replace(2, end - 2, short_names + comma + long_names);
    if (described) line.insert(std::min(line.find("  ", 2), line.size()), " ");
    return line;
}

// Lines of at most kHelpWidth or kFooterWidth columns, broken at blanks, the rest below where the
// text began.
std::string wrapped(std::string line) {
    const bool option = line.starts_with("  -") || line.starts_with("    ");
    const std::size_t text =
        option ? kDescriptions : std::min(line.find_first_not_of(' '), line.size());
    const std::size_t width = option ? kHelpWidth : kFooterWidth;
    std::string out;
    while (line.size() > width) {
        const std::size_t cut = line.rfind(' ', width);
        if (cut == std::string::npos || cut <= text) break;
        out += line.substr(0, cut) + "\n";
        line = std::string(text, ' ') + line.substr(cut + 1);
    }
    return out + line;
}

std::string help_text(const CLI::App& app) {
    std::istringstream lines(app.help());
    std::string out;
    std::string line;
    bool empty = true;  // no two empty lines in a row
    while (std::getline(lines, line)) {
        if (line.empty() && empty) continue;
        empty = line.empty();
        out += wrapped(with_short_names_first(line)) + "\n";
    }
    while (out.ends_with("\n\n")) out.pop_back();
    return out;
}

}  // namespace

Result<std::string> parse(CLI::App& app, const std::vector<std::string>& arguments) {
    const std::vector<std::string> normal = in_long_form(arguments);
    std::vector<std::string> reversed(normal.rbegin(), normal.rend());
    try {
        app.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        return help_text(app);
    } catch (const CLI::ParseError& error) {
        return flag_error(error, normal);
    } catch (const std::exception& error) {
        return Error{ErrorCode::kInternal, std::string("reading the flags: ") + error.what()};
    }
    return std::string();
}

std::vector<std::string> without_program(int argc, char** argv) {
    return {argv + (argc > 0 ? 1 : 0), argv + argc};
}

}  // namespace egpu::flags
