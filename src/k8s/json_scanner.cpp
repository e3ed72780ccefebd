#include "k8s/json_scanner.h"

#include "base/json.h"

namespace egpu::k8s {

namespace {

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool in_number(char c) {
    return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

bool valid_number(const char* at, const char* end) {
    constexpr std::ptrdiff_t kMaxExponent = 8;  // digits: what every reader behind us can hold
    const auto digits = [&] {
        const char* const from = at;
        while (at != end && is_digit(*at)) ++at;
        return at - from;
    };
    if (at != end && *at == '-') ++at;
    const bool zero = at != end && *at == '0';
    const std::ptrdiff_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) return false;
    if (at != end && *at == '.') {
        ++at;
        if (digits() == 0) return false;
    }
    if (at != end && (*at == 'e' || *at == 'E')) {
        ++at;
        if (at != end && (*at == '+' || *at == '-')) ++at;
        const std::ptrdiff_t exponent = digits();
        if (exponent == 0 || exponent > kMaxExponent) return false;
    }
    return at == end;
}

// The four digits after \u, or -1.
int code_unit(const char* digits) {
    int unit = 0;
    for (int i = 0; i < 4; ++i) {
        const char c = digits[i];
        const char lower = static_cast<char>(c | 0x20);
        if (is_digit(c)) {
            unit = unit << 4 | (c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            unit = unit << 4 | (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

// What may follow a backslash, besides u.
bool is_simple_escape(char c) {
    switch (c) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            return true;
        default:
            return false;
    }
}

std::size_t utf8_length_of(unsigned char lead) {
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace

JsonScanner::Token JsonScanner::next(const char*& at, const char* end) {
    while (skip_to_ >= 0) {
        skip_plain(at, end);
        switch (const Token token = step<true>(at, end)) {
            case Token::kMore:
            case Token::kBad:
                return token;
            case Token::kKey:
            case Token::kObject:
            case Token::kArray:
                break;
            default:
                if (depth_ != skip_to_) break;
                skip_to_ = -1;
                return Token::kSkipped;
        }
    }
    return step<false>(at, end);
}

void JsonScanner::skip_plain(const char*& at, const char* end) {
    if (inside_) return;
    const char* p = at;
    Expect expect = expect_;
    int depth = depth_;
    std::uint64_t objects = objects_;
    // Passes a string of ASCII and its closing quote; false: it is not one, or not whole.
    const auto string = [&end](const char*& from) {
        const char* close = pass_plain(from + 1, end);
        while (end - close >= 2 && *close == '\\' && is_simple_escape(close[1])) {
            close = pass_plain(close + 2, end);
        }
        if (close == end || *close != '"') return false;
        from = close + 1;
        return true;
    };
    for (bool on = true; on && p != end;) {
        const char c = *p;
        switch (expect) {
            case Expect::kNext:
                if (c == ',') {
                    expect = (objects & 1) != 0 ? Expect::kKey : Expect::kValue;
                    ++p;
                } else if (c == ((objects & 1) != 0 ? '}' : ']') && depth - 1 > skip_to_) {
                    --depth;
                    objects >>= 1;
                    ++p;
                } else {
                    on = false;
                }
                break;
            case Expect::kKey:
            case Expect::kFirstKey: {
                const char* colon = p;
                on = c == '"' && string(colon) && colon != end && *colon == ':';
                if (!on) break;
                p = colon + 1;
                expect = Expect::kValue;
                break;
            }
            case Expect::kValue:
            case Expect::kFirstValue:
                if (c == '{' || c == '[') {
                    on = depth < kMaxDepth;
                    if (!on) break;
                    ++depth;
                    objects = objects << 1 | (c == '{' ? 1 : 0);
                    expect = c == '{' ? Expect::kFirstKey : Expect::kFirstValue;
                    ++p;
                } else if (depth == skip_to_) {
                    on = false;
                } else if (c == '"') {
                    on = string(p);
                    if (on) expect = Expect::kNext;
                } else if (c >= '1' && c <= '9') {
                    const char* to = p + 1;
                    while (to != end && is_digit(*to)) ++to;
                    on = to != end && !in_number(*to) && to - p < 20;
                    if (!on) break;
                    p = to;
                    expect = Expect::kNext;
                } else {
                    on = false;
                }
                break;
            default:
                on = false;
        }
    }
    at = p;
    expect_ = expect;
    depth_ = depth;
    objects_ = objects;
}

template <bool kSkipping>
JsonScanner::Token JsonScanner::step(const char*& at, const char* end) {
    if (kSkipping && inside_) return string<true>(at, end, inside_of_);
    for (;;) {
        while (at != end && is_space(*at)) ++at;
        if (expect_ == Expect::kEnd) return Token::kEnd;
        if (at == end) return Token::kMore;
        switch (expect_) {
            case Expect::kNext:
                if (*at != ',') return close(at);
                expect_ = in_object() ? Expect::kKey : Expect::kValue;
                ++at;
                break;
            case Expect::kColon:
                if (*at != ':') return bad("no colon after a key");
                expect_ = Expect::kValue;
                ++at;
                break;
            case Expect::kFirstKey:
                if (*at == '}') return close(at);
                [[fallthrough]];
            case Expect::kKey:
                if (*at != '"') return bad("a key is expected");
                return string<kSkipping>(at, end, Token::kKey);
            case Expect::kFirstValue:
                if (*at == ']') return close(at);
                [[fallthrough]];
            default:
                if (*at == '"') return string<kSkipping>(at, end, Token::kString);
                return value(at, end);
        }
    }
}

template <bool kSkipping>
JsonScanner::Token JsonScanner::string(const char*& at, const char* end, Token token) {
    const char* inside = at + (inside_ ? 0 : 1 + checked_);
    if (checked_ == 0) plain_ = true;
    const Passed passed = pass_string(inside, end);
    if (passed == Passed::kWhole) {
        if (!kSkipping) text_ = std::string_view(at + 1, inside);
        at = inside + 1;
        checked_ = 0;
        inside_ = false;
        if (token == Token::kKey) {
            expect_ = Expect::kColon;
        } else {
            value_is_complete();
        }
        return token;
    }
    if (passed == Passed::kBad) {
        at = inside;
        return Token::kBad;
    }
    if (kSkipping) {
        at = inside;
        inside_ = true;
        inside_of_ = token;
    } else {
        checked_ = static_cast<std::size_t>(inside - at) - 1;
    }
    return Token::kMore;
}

JsonScanner::Passed JsonScanner::pass_string(const char*& at, const char* end) {
    for (;;) {
        at = pass_plain(at, end);
        if (at == end) return Passed::kPart;
        if (*at == '"') return Passed::kWhole;
        plain_ = false;
        if (*at == '\\') {
            const Passed passed = pass_escape(at, end);
            if (passed != Passed::kWhole) return passed;
            continue;
        }
        const auto lead = static_cast<unsigned char>(*at);
        if (lead < 0x20) {
            bad("a control character in a string");
            return Passed::kBad;
        }
        const std::size_t length = utf8_length_of(lead);
        if (static_cast<std::size_t>(end - at) < length) return Passed::kPart;
        if (json::utf8_length({at, length}, 0) == 0) {
            bad("a string is not UTF-8");
            return Passed::kBad;
        }
        at += length;
    }
}

JsonScanner::Passed JsonScanner::pass_escape(const char*& at, const char* end) {
    if (end - at < 2) return Passed::kPart;
    if (at[1] != 'u') {
        if (!is_simple_escape(at[1])) {
            bad("an unknown escape in a string");
            return Passed::kBad;
        }
        at += 2;
        return Passed::kWhole;
    }
    if (end - at < 6) return Passed::kPart;
    const int unit = code_unit(at + 2);
    const bool pair = unit >= 0xD800 && unit < 0xDC00;
    if (pair && end - at < 12) return Passed::kPart;
    const bool second =
        pair && at[6] == '\\' && at[7] == 'u' && (code_unit(at + 8) & ~0x3FF) == 0xDC00;
    if (unit < 0 || pair != second || (unit & ~0x3FF) == 0xDC00) {
        bad("a wrong \\u escape in a string");
        return Passed::kBad;
    }
    at += pair ? 12 : 6;
    return Passed::kWhole;
}

JsonScanner::Token JsonScanner::value(const char*& at, const char* end) {
    switch (*at) {
        case '{':
            return open(at, true);
        case '[':
            return open(at, false);
        case 't':
            return word(at, end, "true", Token::kTrue);
        case 'f':
            return word(at, end, "false", Token::kFalse);
        case 'n':
            return word(at, end, "null", Token::kNull);
        default:
            return number(at, end);
    }
}

JsonScanner::Token JsonScanner::open(const char*& at, bool object) {
    if (depth_ == kMaxDepth) return bad("nested too deeply");
    ++depth_;
    objects_ = objects_ << 1 | (object ? 1 : 0);
    expect_ = object ? Expect::kFirstKey : Expect::kFirstValue;
    ++at;
    return object ? Token::kObject : Token::kArray;
}

JsonScanner::Token JsonScanner::close(const char*& at) {
    const bool object = in_object();
    if (*at != (object ? '}' : ']')) return bad("a comma or the end is expected");
    ++at;
    --depth_;
    objects_ >>= 1;
    value_is_complete();
    return object ? Token::kObjectEnd : Token::kArrayEnd;
}

JsonScanner::Token JsonScanner::number(const char*& at, const char* end) {
    const char* to = at;
    while (to != end && in_number(*to)) ++to;
    if (static_cast<std::size_t>(to - at) > kMaxNumber) return bad("a number is too long");
    if (to == end) return Token::kMore;
    if (!valid_number(at, to)) return bad("a value is expected");
    text_ = std::string_view(at, to);
    at = to;
    value_is_complete();
    return Token::kNumber;
}

JsonScanner::Token JsonScanner::word(
    const char*& at, const char* end, std::string_view word, Token token
) {
    const auto here = std::string_view(at, end).substr(0, word.size());
    if (!word.starts_with(here)) return bad("a value is expected");
    if (here.size() < word.size()) return Token::kMore;
    at += word.size();
    value_is_complete();
    return token;
}

}  // namespace egpu::k8s
