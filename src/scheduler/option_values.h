// Checks of single flag values. Errors name the flag, the value and what is possible. Pure.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::scheduler {

// The whole of `text` as a number of this type, or nullopt.
template <class T>
std::optional<T> to_number(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

Error bad_value(std::string_view flag, std::string_view value, std::string_view possible);

// Go's duration text: "2s", "1500ms", "1m30s". Positive.
Result<Millis> parse_duration(std::string_view flag, const std::string& text);
// Bytes: "1048576", "64Mi", "1Gi". Positive.
Result<std::size_t> parse_size(std::string_view flag, const std::string& text);
Status check_policy(std::string_view flag, const std::string& policy);
Status check_listen(const std::string& listen);

}  // namespace egpu::scheduler
