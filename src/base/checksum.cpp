#include "base/checksum.h"

#include <charconv>
#include <cstdint>

namespace egpu {

std::string checksum(std::string_view bytes) {
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char c : bytes) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001B3ULL;
    }
    char text[17] = {};
    const auto [end, error] = std::to_chars(text, text + 16, hash, 16);
    static_cast<void>(error);
    return std::string(text, end);
}

}  // namespace egpu
