// Kubernetes quantities ("20", "2e1", "20000m", "4Gi") as whole numbers, by the grammar of
// apimachinery's resource.Quantity: [+-]?digits[.digits][suffix], suffix n u m "" k M G T P E,
// Ki..Ei, or e/E exponent. Exact (never through a double), rounded up (away from zero) like
// Quantity.Value(), capped at +-(2^63-1). Input is untrusted; errors are kInvalid and quote it.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace egpu::core {

Result<std::int64_t> parse_quantity(std::string_view text);

// In thousandths, as CPU is counted: "1500m" and "1.5" are 1500. Rounded up, capped.
Result<std::int64_t> parse_milli(std::string_view text);

// An amount of memory in MiB, rounded up. Less than one MiB is an error: it is always a forgotten
// unit ("4" for "4Gi").
Result<std::int64_t> parse_memory_mib(std::string_view text);

}  // namespace egpu::core
