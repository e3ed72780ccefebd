// Whatever is accepted must survive a round trip unchanged.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "gpu/cards_annotation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto cards = egpu::gpu::decode_cards(text);
    if (!cards) return 0;
    const auto again = egpu::gpu::decode_cards(egpu::gpu::encode_cards(*cards));
    EG_CHECK(again.ok());
    EG_CHECK(*again == *cards);
    return 0;
}
