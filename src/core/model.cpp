#include "core/model.h"

#include <algorithm>

namespace egpu::core {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_word(char c) {
    const char l = lower(c);
    return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9');
}

// " tesla t4 ": words in lower case between single spaces, without a leading "nvidia".
std::string words_of(std::string_view text) {
    std::string words = " ";
    for (const char c : text) {
        if (is_word(c)) {
            words += lower(c);
        } else if (words.back() != ' ') {
            words += ' ';
        }
    }
    if (words.back() != ' ') words += ' ';
    constexpr std::string_view kVendor = " nvidia ";
    if (words.starts_with(kVendor) && words.size() > kVendor.size()) {
        words.erase(1, kVendor.size() - 1);
    }
    return words;
}

}  // namespace

bool model_matches(std::string_view wanted, std::string_view card_model) {
    const std::string words = words_of(wanted);
    return words.size() > 1 && words_of(card_model).find(words) != std::string::npos;
}

bool model_acceptable(const std::vector<std::string>& wanted, std::string_view card_model) {
    return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
               return model_matches(w, card_model);
           });
}

}  // namespace egpu::core
