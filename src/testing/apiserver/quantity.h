// Kubernetes resource quantities ("20", "1500m", "4Gi", "2e1"), exact and without floating point,
// for the checks that the API server makes on creation. Kept apart from the product's own parser on
// purpose: the embedded server is the other side of the tests. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace egpu::testing {

struct Quantity {
    __extension__ using Wide = __int128;
    Wide nano = 0;  // in units of 10^-9, rounded away from zero

    bool operator==(const Quantity&) const = default;
    bool integral() const { return nano % 1'000'000'000 == 0; }
    bool negative() const { return nano < 0; }
};

// Nothing when `text` is not a quantity. Values beyond 2^63-1 are capped, as the API server does.
std::optional<Quantity> parse_quantity(std::string_view text);

// The canonical form of a quantity the API server would store: "2e1" -> "20", "1000m" -> "1",
// "2048Mi" -> "2Gi". `text` itself when it is not a quantity.
std::string canonical_quantity(std::string_view text);

}  // namespace egpu::testing
