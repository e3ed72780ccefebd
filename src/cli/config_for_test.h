// kube-scheduler's files for the tests of check_config.h: good ones, and one changed place.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "cli/check_config.h"
#include "cli/render_config.h"

namespace egpu::cli {

// `from` must be in `text`.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << "the file has no \"" << from << "\"";
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return text;
}

inline std::string configuration(int minor = 34) {
    ConfigSettings settings;
    settings.minor = minor;
    return render_configuration(settings);
}

inline std::string all_of(const CheckedConfig& checked) {
    return as_text(checked.findings, "FILE");
}

}  // namespace egpu::cli
