// Test only: random JSON texts, and ways to break them.
#pragma once

#include <string>

#include "base/random.h"

namespace egpu::k8s {

inline std::string random_json_space(Random& random) {
    static const char* const kSpaces[] = {"", "", "", "", " ", "\n", "\t\r ", "   "};
    return kSpaces[random.below(std::size(kSpaces))];
}

// Its quotes included.
inline std::string random_json_string(Random& random) {
    static const char* const kPieces[] = {
        "a",
        "s",
        "name",
        "node-1.example.com",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\\\"",
        "\\\\",
        "\\/",
        "\\n",
        "\\u0041",
        "\\u00e9",
        "\\uD83D\\uDE00",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "0123456789012345678901234567890123456789"};
    std::string text = "\"";
    for (int n = random.chance(0.7) ? random.between(0, 3) : random.between(0, 30); n > 0; --n) {
        text += kPieces[random.chance(0.5) ? random.below(4) : random.below(std::size(kPieces))];
    }
    return text + "\"";
}

inline std::string random_json_text(Random& random, int depth) {
    static const char* const kScalars[] = {
        "true", "false", "null", "0", "-1", "12.5", "1e3", "-0.25E-2", "92233720"};
    const std::uint64_t kind = random.below(depth > 0 ? 8 : 4);
    if (kind < 2) return random_json_string(random);
    if (kind < 4) return kScalars[random.below(std::size(kScalars))];
    const bool object = kind < 6;
    std::string text = object ? "{" : "[";
    for (int n = random.between(0, 6); n > 0; --n) {
        text += random_json_space(random);
        if (object) {
            text += random_json_string(random) + random_json_space(random) + ":";
            text += random_json_space(random);
        }
        // Lists of strings are what there are most of.
        text += !object && random.chance(0.5) ? random_json_string(random)
                                              : random_json_text(random, depth - 1);
        if (n > 1) text += random_json_space(random) + ",";
    }
    return text + random_json_space(random) + (object ? "}" : "]");
}

// One or a few bytes taken away, added or changed; rarely, by luck, it stays valid.
inline void break_text(std::string& text, Random& random) {
    static constexpr char kBytes[] = "\"\\{}[],:u0-+.eE \n\x01\x7f\x80\xc3\xed\xf4tnfsx";
    for (int n = random.between(1, 3); n > 0 && !text.empty(); --n) {
        const std::size_t at = random.below(text.size());
        const char byte = random.chance(0.1) ? static_cast<char>(random.below(256))
                                             : kBytes[random.below(sizeof kBytes - 1)];
        switch (random.below(4)) {
            case 0:
                text.erase(at, 1 + random.below(4));
                break;
            case 1:
                text.insert(at, 1, byte);
                break;
            case 2:
                text[at] = byte;
                break;
            default:
                text.resize(at + 1);
                break;
        }
    }
}

}  // namespace egpu::k8s
