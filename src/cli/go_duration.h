// Go's text for durations ("5s", "1m30s", "1.5h", "-2ms", "0"). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace egpu::cli {

// Nanoseconds, or nothing when Go's time.ParseDuration refuses the text or the value passes 100
// years.
std::optional<std::int64_t> parse_go_duration(std::string_view text);

}  // namespace egpu::cli
