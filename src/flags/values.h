// Checks of single flag values. Errors are one sentence that names the flag, the value and what is
// possible. Pure.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::flags {

// The whole of `text` as a number of this type, or nullopt.
template <class T>
std::optional<T> to_number(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

Error bad_value(std::string_view flag, std::string_view value, std::string_view possible);

// "true" or "false".
Result<bool> parse_bool(std::string_view flag, const std::string& text);
// Go's duration text: "2s", "1500ms", "1m30s". Positive.
Result<Millis> parse_duration(std::string_view flag, const std::string& text);
// Bytes: "1048576", "64Mi", "1Gi". Positive.
Result<std::size_t> parse_size(std::string_view flag, const std::string& text);
// The parts of a comma list without the blanks around them; empty parts are left out.
std::vector<std::string> split_list(const std::string& text);
// Does it end in a colon and a port, as "127.0.0.1:39999", "[::1]:39999" and ":39999" do?
bool is_address(std::string_view text);
// The name of a Node: at most 253 lower-case letters, digits, '-' and '.'.
bool is_node_name(std::string_view text);
inline constexpr std::string_view kNodeName =
    "the name of a Node (lower-case letters, digits, '-' and '.')";

}  // namespace egpu::flags
