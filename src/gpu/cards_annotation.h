// The Node annotation `edge-gpu.io/cards`: how an agent tells the scheduler which cards its node
// has.
//
// Version 1, JSON:
// {"version":1,"cards":[{"uuid":…,"index":0,"model":…,"memoryMiB":15360,"numa":0,"healthy":true}]};
// numa is left out when unknown, an unhealthy card has a "reason". Where links between the cards
// are known, "links" beside "cards" has two hexadecimal digits (core::Link) for each pair, in the
// order 1-0, 2-0, 2-1, 3-0, … of positions in the list: 56 characters for 8 cards. Pure;
// thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/card.h"

namespace egpu::gpu {

struct CardInfo;

inline constexpr std::string_view kAnnotationCards = "edge-gpu.io/cards";

std::string encode_cards(std::span<const core::Card> cards);
std::string encode_cards(std::span<const CardInfo> cards);  // with the reasons of unhealthy cards

// Untrusted input: 200 KiB and 1,024 cards at most, duplicates (UUID or index) refused, unknown
// keys ignored, a later version refused. kInvalid names the card and the field.
Result<std::vector<core::Card>> decode_cards(std::string_view text);

}  // namespace egpu::gpu
