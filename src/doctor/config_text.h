// TOML and YAML as JSON values, so that one set of accessors (base/json.h) reads every
// configuration. The only user of toml++ here.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace egpu::doctor {

// kInvalid names line and column. Dates become text.
Result<json::value> parse_toml(std::string_view text);
// The first document. Plain scalars true/false and integers get their type; everything else is
// text. kInvalid names the line; kExhausted on nesting beyond 64 or more than 100,000 nodes
// (aliases included).
Result<json::value> parse_yaml(std::string_view text);

}  // namespace egpu::doctor
