#include "testing/apiserver/quantity.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

namespace egpu::testing {
namespace {

using Wide = Quantity::Wide;
constexpr Wide kNano = 1'000'000'000;
constexpr Wide kMost = static_cast<Wide>(std::numeric_limits<std::int64_t>::max()) * kNano;

struct Parts {
    bool negative = false;
    std::string digits;  // without the point
    int point = 0;       // digits behind the point
    int exponent = 0;    // of ten
    int binary = 0;      // 1 = Ki, 2 = Mi, ...
    char family = 'd';   // 'd' decimal SI, 'b' binary SI, 'e' exponent
};

bool parse_suffix(std::string_view suffix, Parts& parts) {
    struct Named {
        std::string_view text;
        int exponent;
        int binary;
    };
    static constexpr Named kNames[] = {
        {"", 0, 0},
        {"n", -9, 0},
        {"u", -6, 0},
        {"m", -3, 0},
        {"k", 3, 0},
        {"M", 6, 0},
        {"G", 9, 0},
        {"T", 12, 0},
        {"P", 15, 0},
        {"E", 18, 0},
        {"Ki", 0, 1},
        {"Mi", 0, 2},
        {"Gi", 0, 3},
        {"Ti", 0, 4},
        {"Pi", 0, 5},
        {"Ei", 0, 6}};
    for (const auto& name : kNames) {
        if (name.text != suffix) continue;
        parts.exponent = name.exponent;
        parts.binary = name.binary;
        parts.family = name.binary > 0 ? 'b' : 'd';
        return true;
    }
    if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return false;
    suffix.remove_prefix(suffix[1] == '+' ? 2 : 1);
    const auto [end, error] =
        std::from_chars(suffix.data(), suffix.data() + suffix.size(), parts.exponent);
    parts.family = 'e';
    return error == std::errc() && end == suffix.data() + suffix.size();
}

std::optional<Parts> split(std::string_view text) {
    Parts parts;
    if (text.empty()) return {};
    if (text[0] == '+' || text[0] == '-') {
        parts.negative = text[0] == '-';
        text.remove_prefix(1);
    }
    bool behind = false;
    std::size_t i = 0;
    for (; i < text.size(); ++i) {
        if (text[i] == '.' && !behind) {
            behind = true;
        } else if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
            parts.digits += text[i];
            if (behind) ++parts.point;
        } else {
            break;
        }
    }
    if (parts.digits.empty() || parts.digits.size() > 200) return {};
    if (!parse_suffix(text.substr(i), parts)) return {};
    return parts;
}

std::string decimal(std::int64_t units, int exponent) {
    // The largest suffix that divides it.
    static constexpr std::string_view kUp[] = {"", "k", "M", "G", "T", "P", "E"};
    static constexpr std::string_view kDown[] = {"", "m", "u", "n"};
    while (units != 0 && exponent < 0 && units % 1000 == 0) {
        units /= 1000;
        exponent += 3;
    }
    while (units != 0 && exponent >= 0 && exponent < 18 && units % 1000 == 0) {
        units /= 1000;
        exponent += 3;
    }
    if (units == 0) exponent = 0;
    const auto suffix = exponent < 0 ? kDown[-exponent / 3] : kUp[exponent / 3];
    return std::to_string(units) + std::string(suffix);
}

}  // namespace

std::optional<Quantity> parse_quantity(std::string_view text) {
    const auto parts = split(text);
    if (!parts) return {};
    Wide multiplier = 1;
    for (int i = 0; i < parts->binary; ++i) multiplier *= 1024;
    // value = digits * 10^shift * multiplier, in nano
    const int shift = 9 - parts->point + parts->exponent;
    Wide value = 0;
    bool capped = false;
    for (const char digit : parts->digits) {
        value = value * 10 + (digit - '0');
        if (value > kMost) capped = true;
        if (capped) break;
    }
    const Wide significant = value;
    if (!capped && multiplier > 1 && value > kMost / multiplier && shift >= 0) capped = true;
    if (!capped) value *= multiplier;
    bool rest = false;
    if (shift >= 0) {
        for (int i = 0; i < shift && !capped && value != 0; ++i) {
            value *= 10;
            capped = value > kMost;
        }
    } else {
        for (int i = 0; i < -shift && value != 0; ++i) {
            rest = rest || value % 10 != 0;
            value /= 10;
        }
        if (rest && significant != 0) ++value;
    }
    if (capped || value > kMost) value = kMost;
    return Quantity{parts->negative ? -value : value};
}

std::string canonical_quantity(std::string_view text) {
    const auto parts = split(text);
    const auto value = parse_quantity(text);
    if (!parts || !value) return std::string(text);
    if (!value->integral()) {
        const Wide micro = value->nano / 1000;
        if (micro * 1000 == value->nano && micro <= std::numeric_limits<std::int64_t>::max() &&
            micro >= std::numeric_limits<std::int64_t>::min())
            return decimal(static_cast<std::int64_t>(micro), -6);
        return std::string(text);
    }
    auto units = static_cast<std::int64_t>(value->nano / kNano);
    if (parts->family == 'd') return decimal(units, 0);
    if (parts->family == 'e') {
        int exponent = 0;
        while (units != 0 && units % 1000 == 0) {
            units /= 1000;
            exponent += 3;
        }
        return std::to_string(units) + (exponent > 0 ? "e" + std::to_string(exponent) : "");
    }
    static constexpr std::string_view kBinary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    std::size_t step = 0;
    while (units != 0 && step < 6 && units % 1024 == 0) {
        units /= 1024;
        ++step;
    }
    return std::to_string(units) + std::string(kBinary[step]);
}

}  // namespace egpu::testing
