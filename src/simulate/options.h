// The command line of `edge-gpu simulate`. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/policy/scorer.h"
#include "simulate/replay.h"

namespace egpu::simulate {

enum class Output : std::uint8_t { kTable, kJson, kCsv };

struct Options {
    std::string help;  // not empty: print it and end
    std::string nodes;
    std::vector<std::string> pods;
    std::vector<const core::Scorer*> policies;  // each once, in the order given
    std::vector<std::uint64_t> seeds;           // likewise
    RunOptions run;
    int jobs = 0;  // 0: as many as there are CPUs
    Output output = Output::kTable;
};

Result<Options> parse_options(const std::vector<std::string>& arguments);

// "42..51", "7", "1,5,9..12".
Result<std::vector<std::uint64_t>> parse_seeds(const std::string& text);

}  // namespace egpu::simulate
