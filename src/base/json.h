// Boost.JSON with errors as Result and accessors for optional fields. Readers that must be fast
// (the extender's bodies) stream instead; see k8s/extender.h.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"

namespace egpu::json {

using boost::json::array;
using boost::json::object;
using boost::json::string;
using boost::json::value;

// Parses one JSON document; trailing white space only may follow. Nesting is limited to 64.
Result<value> parse(std::string_view text);

// Walks object keys from `from`; nullptr when a step is missing or not an object.
const value* find(const value& from, std::initializer_list<std::string_view> path);
value* find(value& from, std::initializer_list<std::string_view> path);

// The string at `path`, or "" when it is missing or not a string. The view lives as long as `from`.
std::string_view get_string(const value& from, std::initializer_list<std::string_view> path);
// The integer at `path`; numbers written as 3.0 count, others (and numbers out of range) do not.
std::optional<std::int64_t> get_int(
    const value& from, std::initializer_list<std::string_view> path
);
bool get_bool(
    const value& from, std::initializer_list<std::string_view> path, bool otherwise = false
);
// The object or array at `path`, or nullptr.
const object* get_object(const value& from, std::initializer_list<std::string_view> path);
const array* get_array(const value& from, std::initializer_list<std::string_view> path);

// Compact text. Go's encoder escapes <, > and &; ours need not.
std::string to_text(const value& v);
// Appends `text` as a quoted JSON string; bytes that are not UTF-8 become U+FFFD.
void append_quoted(std::string& out, std::string_view text);
// Length of the valid UTF-8 sequence that begins at text[at], or 0.
std::size_t utf8_length(std::string_view text, std::size_t at);

}  // namespace egpu::json
