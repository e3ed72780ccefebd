// Quantities: no crash, no negative from a positive, the cap holds, and a value written out again
// reads as itself.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "core/quantity.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(data, data + size);
    const auto value = egpu::core::parse_quantity(text);
    if (value) {
        EG_CHECK(text[0] == '-' ? *value <= 0 : *value >= 0);
        const auto again = egpu::core::parse_quantity(std::to_string(*value));
        EG_CHECK(again.ok() && *again == *value);
    } else {
        EG_CHECK(!value.error().message.empty() && value.error().message.size() < 300);
    }
    const auto memory = egpu::core::parse_memory_mib(text);
    if (memory) EG_CHECK(value.ok() && *memory >= 1 && *memory <= *value);
    return 0;
}
