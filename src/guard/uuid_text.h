// "GPU-8f6e0f6a-…" or "MIG-…" to the 16 bytes that CUDA tells. Pure.
#pragma once

#include <cstdint>

namespace egpu::guard {

// False when the text is not a UUID behind one word and a dash.
constexpr bool parse_uuid(const char* text, std::uint8_t (&bytes)[16]) {
    while (*text != '\0' && *text != '-') ++text;
    if (*text != '-') return false;
    ++text;
    int digits = 0;
    for (; *text != '\0'; ++text) {
        const char c = *text;
        if (c == '-') continue;
        int value = -1;
        if (c >= '0' && c <= '9') value = c - '0';
        if (c >= 'a' && c <= 'f') value = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') value = c - 'A' + 10;
        if (value < 0 || digits == 32) return false;
        std::uint8_t& byte = bytes[digits / 2];
        byte = static_cast<std::uint8_t>(digits % 2 == 0 ? value << 4 : byte | value);
        ++digits;
    }
    return digits == 32;
}

}  // namespace egpu::guard
