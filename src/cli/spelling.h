// "Did you mean": the candidate a word was probably meant to be. Pure.
#pragma once

#include <span>
#include <string_view>

namespace egpu::cli {

// The closest candidate: equal but for case, '-', '_' and '/' against each other, or a few letters
// away (fewer for short words). "" when none is close, or `word` itself is a candidate's exact
// text.
std::string_view closest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace egpu::cli
