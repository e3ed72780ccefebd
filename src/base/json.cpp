#include "base/json.h"

#include <cmath>

#include <boost/json/parse.hpp>

namespace egpu::json {

Result<value> parse(std::string_view text) {
    boost::json::parse_options options;
    options.max_depth = 64;
    boost::system::error_code error;
    try {
        value parsed = boost::json::parse({text.data(), text.size()}, error, {}, options);
        if (error) return Error{ErrorCode::kInvalid, "not valid JSON: " + error.message()};
        return parsed;
    } catch (const std::exception& e) {
        return Error{ErrorCode::kInvalid, std::string("not valid JSON: ") + e.what()};
    }
}

const value* find(const value& from, std::initializer_list<std::string_view> path) {
    const value* at = &from;
    for (const auto key : path) {
        const object* fields = at->if_object();
        if (fields == nullptr) return nullptr;
        at = fields->if_contains({key.data(), key.size()});
        if (at == nullptr) return nullptr;
    }
    return at;
}

value* find(value& from, std::initializer_list<std::string_view> path) {
    return const_cast<value*>(find(static_cast<const value&>(from), path));
}

std::string_view get_string(const value& from, std::initializer_list<std::string_view> path) {
    const value* v = find(from, path);
    if (v == nullptr || !v->is_string()) return {};
    const string& s = v->get_string();
    return {s.data(), s.size()};
}

std::optional<std::int64_t> get_int(
    const value& from, std::initializer_list<std::string_view> path
) {
    const value* v = find(from, path);
    if (v == nullptr) return std::nullopt;
    if (v->is_int64()) return v->get_int64();
    if (v->is_uint64()) return std::nullopt;  // larger than any int64
    if (v->is_double()) {
        const double d = v->get_double();
        if (d >= -0x1.0p63 && d < 0x1.0p63 && d == std::floor(d))
            return static_cast<std::int64_t>(d);
    }
    return std::nullopt;
}

bool get_bool(const value& from, std::initializer_list<std::string_view> path, bool otherwise) {
    const value* v = find(from, path);
    return v != nullptr && v->is_bool() ? v->get_bool() : otherwise;
}

const object* get_object(const value& from, std::initializer_list<std::string_view> path) {
    const value* v = find(from, path);
    return v == nullptr ? nullptr : v->if_object();
}

const array* get_array(const value& from, std::initializer_list<std::string_view> path) {
    const value* v = find(from, path);
    return v == nullptr ? nullptr : v->if_array();
}

std::string to_text(const value& v) {
    return boost::json::serialize(v);
}

std::size_t utf8_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(at);
    std::size_t length = 0;
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return 0;
    }
    if (at + length > text.size() || byte(at + 1) < low || byte(at + 1) > high) return 0;
    for (std::size_t i = 2; i < length; ++i) {
        if (byte(at + i) < 0x80 || byte(at + i) > 0xBF) return 0;
    }
    return length;
}

void append_quoted(std::string& out, std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    out.push_back('"');
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(text[i++]);
        } else if (c < 0x20) {
            out += "\\u00";
            out.push_back(kHex[c >> 4]);
            out.push_back(kHex[c & 15]);
            ++i;
        } else if (const std::size_t length = utf8_length(text, i); length > 0) {
            out.append(text, i, length);
            i += length;
        } else {
            out += "\xEF\xBF\xBD";
            ++i;
        }
    }
    out.push_back('"');
}

}  // namespace egpu::json
