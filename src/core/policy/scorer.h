// Placement policies over Rooms: how good is it that a pod turns the room `before` into `after`?
// One table. The live scheduler and `edge-gpu simulate` use it alike.
//
// Most policies are pure functions of that step. Two, `fgd` and `fill-gradient`, compare what a
// node is worth before and after (a potential), which depends on the demand that is expected:
// core/policy/fleet.h keeps what they need. core/policy.h has the first three in the extender's
// 0..10 form.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/policy.h"
#include "core/room.h"

namespace egpu::core {

struct Step {
    const Room& before;
    const Room& after;
    const Shape& pod;
    PolicyContext context;
};

enum class CardRule : std::uint8_t {
    kLeastFree,  // of the cards that can take a share, the one with the least free
    kMostFree,
    kRandom,
    kByScore  // each distinct level of free percent is tried, the best score wins
};

enum class Potential : std::uint8_t { kNone, kFragmentation, kExpectedFill };

struct Scorer {
    std::string_view name;
    std::string_view description;  // one line, for --help and docs
    std::string_view source;       // where it is from
    CardRule cards = CardRule::kLeastFree;
    Potential potential = Potential::kNone;
    // More is better; only the order counts. nullptr where `potential` decides.
    double (*score)(const Step& step) = nullptr;
    // The score depends on the node itself, not only on its room.
    bool per_node = false;
    // The score looks at Room::kinds.
    bool looks_at_kinds = false;
};

std::span<const Scorer> scorers();
// nullptr when there is none of that name. "auto" is fill-gradient.
const Scorer* find_scorer(std::string_view name);
std::string scorer_names();  // "binpack, spread, ..., auto"

}  // namespace egpu::core
