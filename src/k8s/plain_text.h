// Finding where text stops being plain: printable ASCII without quotes and backslashes, which means
// the same inside and outside of JSON quotes. Nearly all bytes of a request are plain.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <bit>

#include <emmintrin.h>
#endif

namespace egpu::k8s {

inline bool is_plain(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

// The first byte in [at, end) that is not plain, or `end`.
inline const char* pass_plain(const char* at, const char* end) {
#if defined(__SSE2__)
    for (; end - at >= 16; at += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        // Compared as signed numbers, bytes beyond ASCII are less than a space too.
        const __m128i special = _mm_or_si128(
            _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
            _mm_or_si128(
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))
            )
        );
        const auto mask = static_cast<unsigned>(_mm_movemask_epi8(special));
        if (mask != 0) return at + std::countr_zero(mask);
    }
#else
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    constexpr std::uint64_t kHigh = 0x8080808080808080;
    const auto zero = [](std::uint64_t v) { return (v - kOnes) & ~v & kHigh; };
    for (; end - at >= 8; at += 8) {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, at, sizeof bytes);
        const std::uint64_t control = (bytes - kOnes * 0x20) & ~bytes & kHigh;
        const std::uint64_t special =
            (bytes & kHigh) | control | zero(bytes ^ (kOnes * '"')) | zero(bytes ^ (kOnes * '\\'));
        if (special != 0) break;  // the loop below finds which
    }
#endif
    while (at != end && is_plain(*at)) ++at;
    return at;
}

inline bool is_plain(std::string_view text) {
    return pass_plain(text.data(), text.data() + text.size()) == text.data() + text.size();
}

}  // namespace egpu::k8s
