// The parts of HTTP messages that server and client share: header fields, targets, query strings.
// Values only; no I/O. Field names compare without case (RFC 9110).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace egpu::http {

// Header fields in order of arrival.
class Headers {
  public:
    Headers() = default;
    Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

    void add(std::string name, std::string value) {
        fields_.emplace_back(std::move(name), std::move(value));
    }
    // The first field of that name, or "" when there is none.
    std::string_view get(std::string_view name) const;
    bool has(std::string_view name) const;

    auto begin() const { return fields_.begin(); }
    auto end() const { return fields_.end(); }
    std::size_t size() const { return fields_.size(); }
    bool empty() const { return fields_.empty(); }

  private:
    std::vector<std::pair<std::string, std::string>> fields_;
};

// Decoded query parameters in order; a name may occur several times.
class Query {
  public:
    // `text` without the '?'. '+' is a space, bad percent escapes stay as they are.
    static Query parse(std::string_view text);

    std::string_view get(std::string_view name) const;  // the first, or ""
    bool has(std::string_view name) const;
    // "true", "1", "t" or "" (the bare name) count as true, as in the API server.
    bool flag(std::string_view name) const;

    auto begin() const { return fields_.begin(); }
    auto end() const { return fields_.end(); }

  private:
    std::vector<std::pair<std::string, std::string>> fields_;
};

// ASCII only; what header names and the extender's JSON keys need.
bool equal_without_case(std::string_view a, std::string_view b);

std::string percent_decode(std::string_view text, bool plus_is_space = false);
// Escapes everything but letters, digits and "-._~".
std::string percent_encode(std::string_view text);

// scheme://host[:port][/prefix]; user info, query and fragment are refused.
struct Url {
    bool tls = false;
    std::string host;    // without brackets
    int port = 0;        // 80 or 443 when not given
    std::string prefix;  // "" or "/a/b" without a trailing slash

    // "host:port" with brackets around an IPv6 address; the default port is left out.
    std::string authority() const;
    bool operator==(const Url&) const = default;
};
Result<Url> parse_url(std::string_view text);

// The standard reason phrase for `status` ("Not Found"), or "Status".
std::string_view reason_phrase(int status);

}  // namespace egpu::http
