// One way to read a command line for every command: CLI11 declares the flags, this parses them the
// way the users of the Go programs we replace expect (one dash or two).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace egpu::flags {

// Reads `arguments` (without the program's name) into what `app` declares. The help text when
// --help or -h is there, "" otherwise. An error is one sentence that names the flag; CLI11's
// exceptions end here.
Result<std::string> parse(CLI::App& app, const std::vector<std::string>& arguments);

// main()'s arguments without the program's name.
std::vector<std::string> without_program(int argc, char** argv);

}  // namespace egpu::flags
