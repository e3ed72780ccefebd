#include "flags/command_line.h"

#include <algorithm>
#include <exception>

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

}  // namespace

Result<std::string> parse(CLI::App& app, const std::vector<std::string>& arguments) {
    const std::vector<std::string> normal = in_long_form(arguments);
    std::vector<std::string> reversed(normal.rbegin(), normal.rend());
    try {
        app.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        return app.help();
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
