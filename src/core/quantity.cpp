#include "core/quantity.h"

#include <limits>
#include <optional>
#include <string>

namespace egpu::core {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kMaxLength = 128;
constexpr int kExponentBound = 1000;  // far beyond what kMaxLength digits can balance

struct Suffix {
    int decimal = 0;  // power of ten
    int binary = 0;   // power of two
};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// "e3", "E-6": what follows the letter, or nullopt. Clamped to +-kExponentBound.
std::optional<int> parse_exponent(std::string_view text) {
    bool negative = false;
    if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
        negative = text[0] == '-';
        text.remove_prefix(1);
    }
    if (text.empty()) return std::nullopt;
    int value = 0;
    for (const char c : text) {
        if (!is_digit(c)) return std::nullopt;
        if (value < kExponentBound) value = value * 10 + (c - '0');
    }
    if (value > kExponentBound) value = kExponentBound;
    return negative ? -value : value;
}

std::optional<Suffix> parse_suffix(std::string_view text) {
    struct Row {
        std::string_view name;
        Suffix suffix;
    };
    static constexpr Row kRows[] = {
        {"", {0, 0}},
        {"n", {-9, 0}},
        {"u", {-6, 0}},
        {"m", {-3, 0}},
        {"k", {3, 0}},
        {"M", {6, 0}},
        {"G", {9, 0}},
        {"T", {12, 0}},
        {"P", {15, 0}},
        {"E", {18, 0}},
        {"Ki", {0, 10}},
        {"Mi", {0, 20}},
        {"Gi", {0, 30}},
        {"Ti", {0, 40}},
        {"Pi", {0, 50}},
        {"Ei", {0, 60}},
    };
    for (const Row& row : kRows) {
        if (row.name == text) return row.suffix;
    }
    if (text.size() > 1 && (text[0] == 'e' || text[0] == 'E')) {
        if (const auto exponent = parse_exponent(text.substr(1))) return Suffix{*exponent, 0};
    }
    return std::nullopt;
}

// digits * 10^-scale * 2^binary, rounded up, capped. `digits` holds 0..9 values and is used up.
std::int64_t round_up(std::string digits, int scale, int binary) {
    if (digits.find_first_not_of('\0') == std::string::npos) return 0;
    const int whole = static_cast<int>(digits.size()) - scale;  // digits before the point
    std::uint64_t value = 0;
    for (int i = 0; i < whole; ++i) {
        const std::uint64_t digit =
            i < static_cast<int>(digits.size()) ? static_cast<std::uint64_t>(digits[i]) : 0;
        if (value > (static_cast<std::uint64_t>(kMax) - digit) / 10) return kMax;
        value = value * 10 + digit;
    }
    if (whole > 0) digits.erase(0, std::min<std::size_t>(digits.size(), whole));
    // What is left are the digits after the point; with whole < 0, zeros go before them.
    const bool tiny = whole < 0;
    if (tiny) digits.insert(0, static_cast<std::size_t>(std::min(-whole, 40)), '\0');
    for (int bit = 0; bit < binary; ++bit) {
        int carry = 0;
        for (auto it = digits.rbegin(); it != digits.rend(); ++it) {
            const int doubled = *it * 2 + carry;
            *it = static_cast<char>(doubled % 10);
            carry = doubled / 10;
        }
        if (value > static_cast<std::uint64_t>(kMax) / 2) return kMax;
        value = value * 2 + static_cast<std::uint64_t>(carry);
    }
    const bool fraction = digits.find_first_not_of('\0') != std::string::npos;
    if (fraction) ++value;
    return value > static_cast<std::uint64_t>(kMax) ? kMax : static_cast<std::int64_t>(value);
}

Error bad(std::string_view text, std::string_view why) {
    constexpr std::size_t kShown = 40;
    std::string shown(text.substr(0, kShown));
    if (text.size() > kShown) shown += "...";
    for (char& c : shown) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return {ErrorCode::kInvalid, "\"" + shown + "\" is not a quantity: " + std::string(why)};
}

// text * 10^decimals, rounded up.
Result<std::int64_t> parse_scaled(std::string_view text, int decimals) {
    if (text.empty()) return bad(text, "it is empty");
    if (text.size() > kMaxLength) return bad(text, "it is too long");
    std::string_view rest = text;
    const bool negative = rest[0] == '-';
    if (rest[0] == '-' || rest[0] == '+') rest.remove_prefix(1);

    std::string digits;
    int scale = 0;
    bool point = false;
    std::size_t i = 0;
    for (; i < rest.size(); ++i) {
        if (rest[i] == '.' && !point) {
            point = true;
        } else if (is_digit(rest[i])) {
            digits += static_cast<char>(rest[i] - '0');
            if (point) ++scale;
        } else {
            break;
        }
    }
    if (digits.empty()) return bad(text, "it has no digits");
    const auto suffix = parse_suffix(rest.substr(i));
    if (!suffix) {
        return bad(
            text, "the suffix must be one of n u m k M G T P E Ki Mi Gi Ti Pi Ei or e<number>"
        );
    }
    const std::int64_t value =
        round_up(std::move(digits), scale - suffix->decimal - decimals, suffix->binary);
    return negative ? -value : value;
}

}  // namespace

Result<std::int64_t> parse_quantity(std::string_view text) {
    return parse_scaled(text, 0);
}

Result<std::int64_t> parse_milli(std::string_view text) {
    return parse_scaled(text, 3);
}

Result<std::int64_t> parse_memory_mib(std::string_view text) {
    constexpr std::int64_t kMiB = 1024 * 1024;
    EG_TRY(const std::int64_t bytes, parse_quantity(text));
    if (bytes < kMiB) {
        return Error{
            ErrorCode::kInvalid,
            "memory \"" + std::string(text.substr(0, 40)) +
                "\" is less than 1Mi; write an amount with its unit, for example 4Gi"};
    }
    return bytes / kMiB + (bytes % kMiB == 0 ? 0 : 1);
}

}  // namespace egpu::core
