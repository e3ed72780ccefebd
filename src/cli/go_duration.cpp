#include "cli/go_duration.h"

#include "flags/values.h"

namespace egpu::cli {
namespace {

constexpr double kMost = 100.0 * 365 * 86'400 * 1e9;

std::optional<double> unit_of(std::string_view unit) {
    if (unit == "ns") return 1;
    if (unit == "us" || unit == "µs" || unit == "μs") return 1e3;
    if (unit == "ms") return 1e6;
    if (unit == "s") return 1e9;
    if (unit == "m") return 60e9;
    if (unit == "h") return 3600e9;
    return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_go_duration(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    if (text == "0") return 0;
    if (text.empty()) return std::nullopt;
    constexpr std::string_view kDigits = "0123456789.";
    double total = 0;
    while (!text.empty()) {
        const std::string_view number = text.substr(0, text.find_first_not_of(kDigits));
        text.remove_prefix(number.size());
        const std::string_view unit = text.substr(0, text.find_first_of(kDigits));
        text.remove_prefix(unit.size());
        const auto value = flags::to_number<double>(number);
        const auto factor = unit_of(unit);
        if (!value || !factor) return std::nullopt;
        total += *value * *factor;
        if (!(total <= kMost)) return std::nullopt;
    }
    const auto nanoseconds = static_cast<std::int64_t>(total);
    return negative ? -nanoseconds : nanoseconds;
}

}  // namespace egpu::cli
