#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "gpu/ld_cache.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto entries =
        egpu::gpu::parse_ld_cache(std::string_view(reinterpret_cast<const char*>(data), size));
    if (!entries) {
        EG_CHECK(!entries.error().message.empty());
        return 0;
    }
    for (const auto& entry : *entries) {
        EG_CHECK(entry.name.size() < size && entry.path.size() < size);
    }
    return 0;
}
