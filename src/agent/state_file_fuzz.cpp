// The state file is ours, but disks at the edge lie: whatever is in it, decoding neither crashes
// nor accepts what would not be written again the same. Input that does not look like a file is
// sealed first: the checksum would hide the rest.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/state_file.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const bool is_file = text.starts_with("{\"format\"");
    const auto state =
        egpu::agent::decode_state(is_file ? std::string(text) : egpu::agent::seal_state(text));
    if (!state) return 0;
    const auto again = egpu::agent::decode_state(egpu::agent::encode_state(*state));
    EG_CHECK(again.ok());
    EG_CHECK(*again == *state);
    return 0;
}
