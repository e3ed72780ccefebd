#include "flags/values.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace egpu::flags {
namespace {

constexpr std::int64_t kLongest = 100'000'000'000'000;  // milliseconds; no overflow up to here

}  // namespace

Error bad_value(std::string_view flag, std::string_view value, std::string_view possible) {
    return Error{
        ErrorCode::kInvalid,
        "--" + std::string(flag) + ": \"" + std::string(value) + "\" is not " +
            std::string(possible)};
}

Result<bool> parse_bool(std::string_view flag, const std::string& text) {
    if (text == "true") return true;
    if (text == "false") return false;
    return bad_value(flag, text, "true or false");
}

Result<Millis> parse_duration(std::string_view flag, const std::string& text) {
    const auto refused = [&] {
        return bad_value(flag, text, "a positive duration such as 500ms, 2s or 1m30s");
    };
    std::int64_t total = 0;
    std::string_view rest = text;
    while (!rest.empty()) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
        if (error != std::errc{} || number < 0 || number > 1'000'000'000) return refused();
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        const std::size_t unit_end = std::min(rest.find_first_of("0123456789"), rest.size());
        const std::string_view unit = rest.substr(0, unit_end);
        rest.remove_prefix(unit_end);
        if (unit == "ms") {
            total += number;
        } else if (unit == "s") {
            total += number * 1000;
        } else if (unit == "m") {
            total += number * 60'000;
        } else if (unit == "h") {
            total += number * 3'600'000;
        } else {
            return refused();
        }
        if (total > kLongest) return refused();
    }
    if (total <= 0) return refused();
    return Millis(total);
}

Result<std::size_t> parse_size(std::string_view flag, const std::string& text) {
    std::string_view digits = text;
    std::size_t factor = 1;
    constexpr std::pair<std::string_view, std::size_t> kUnits[] = {
        {"Ki", 1U << 10}, {"Mi", 1U << 20}, {"Gi", 1U << 30}};
    for (const auto& [unit, bytes] : kUnits) {
        if (digits.ends_with(unit)) {
            factor = bytes;
            digits.remove_suffix(unit.size());
            break;
        }
    }
    const auto number = to_number<std::uint32_t>(digits);
    if (!number || *number == 0) {
        return bad_value(flag, text, "a size such as 1048576, 64Mi or 1Gi");
    }
    return std::size_t{*number} * factor;
}

std::vector<std::string> split_list(const std::string& text) {
    std::vector<std::string> parts;
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(','), rest.size());
        std::string_view part = rest.substr(0, end);
        while (part.starts_with(' ')) part.remove_prefix(1);
        while (part.ends_with(' ')) part.remove_suffix(1);
        if (!part.empty()) parts.emplace_back(part);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return parts;
}

bool is_address(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    return colon != std::string_view::npos &&
           to_number<std::uint16_t>(text.substr(colon + 1)).has_value();
}

bool is_node_name(std::string_view text) {
    return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
}

}  // namespace egpu::flags
