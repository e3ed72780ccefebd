// Which cards of a room a pod of one container may take. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "core/policy/scorer.h"
#include "core/room.h"

namespace egpu::core {

// The room that is left when the pod takes `card` (of a share) or, for several or whole cards, the
// lowest-numbered ones that are free; shares of several cards take the fullest that can take them.
// The pod must fit.
Room room_after(const Room& room, const Shape& shape, int card);

// The cards that a rule leaves to choose from: one of each distinct level of free percent, the
// lowest-numbered of it, in order of their numbers.
struct CardOptions {
    int count = 0;
    std::array<std::int8_t, kRoomCards> card{};
};

// None when the pod does not fit; one option, -1, when there is nothing to choose. kRandom picks by
// `hash`.
CardOptions card_options(
    const Room& room, const Shape& shape, CardRule rule, std::uint64_t hash = 0
);

}  // namespace egpu::core
