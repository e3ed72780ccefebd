// Flags read as on node edge-1, for the tests of options.h.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/options.h"

namespace egpu::agent {

inline Options parsed(std::vector<std::string> arguments, Environment environment = {}) {
    environment.emplace("NODE_NAME", "edge-1");
    auto result = parse_options(arguments, environment);
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    return result ? result->options : Options{};
}

// The one line that says why.
inline std::string refused(
    std::vector<std::string> arguments,
    Environment environment = {},
    ErrorCode code = ErrorCode::kInvalid
) {
    environment.emplace("NODE_NAME", "edge-1");
    const auto result = parse_options(arguments, environment);
    EXPECT_FALSE(result);
    if (result) return "";
    EXPECT_EQ(result.error().code, code);
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
    return result.error().message;
}

}  // namespace egpu::agent
