// Flags of `edge-gpu doctor`. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "doctor/gather.h"

namespace egpu::doctor {

struct Options {
    GatherOptions gather;
    bool as_json = false;
    bool verbose = false;
    bool fix = false;
    bool yes = false;
    bool smoke = false;
    std::string help;  // not "": print it and exit 0
};

// `arguments` without the program's name.
Result<Options> parse_options(const std::vector<std::string>& arguments);

}  // namespace egpu::doctor
