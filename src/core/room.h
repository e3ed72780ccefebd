// A node and a pod as placement policies see them: numbers only, no names, no strings. The live
// ledger and the simulator both translate into these.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

namespace egpu::core {

inline constexpr int kRoomCards = 16;  // cards of a node that policies can tell apart
// CPU or memory that is not known, or not limited: constrains nothing.
inline constexpr std::int32_t kUnlimited = std::numeric_limits<std::int32_t>::max();

// A card model as a small number: 0 when unknown, at most kMaxModels - 1. Who owns the fleet
// numbers them; a cluster with more models gives the rarest ones the last number together.
using ModelId = std::uint8_t;
inline constexpr int kMaxModels = 64;

// What a pod asks for. `cards` 0: CPU and memory only. Several cards are whole ones (percent 100)
// or, for nvidia.com/gpu with replicas, shares of different cards.
struct Shape {
    std::int32_t cpu_milli = 0;
    std::int32_t memory_mib = 0;
    std::uint64_t models = 0;  // bit per ModelId that is allowed; 0: any
    std::uint8_t cards = 0;
    std::uint8_t percent = 0;  // of each card, 1..100

    bool share() const { return cards > 0 && percent < 100; }
    double gpu() const { return cards * percent / 100.0; }  // in cards
    bool allows(ModelId model) const { return models == 0 || ((models >> model) & 1U) != 0; }
    bool operator==(const Shape&) const = default;
};

// Kinds of pods, for policies that keep like with like and for reports.
enum class ShapeKind : std::uint8_t { kCpuOnly, kShare, kOneCard, kTwo, kFour, kEight, kOther };
inline ShapeKind kind_of(const Shape& shape) {
    if (shape.cards == 0) return ShapeKind::kCpuOnly;
    if (shape.percent < 100) return ShapeKind::kShare;
    switch (shape.cards) {
        case 1:
            return ShapeKind::kOneCard;
        case 2:
            return ShapeKind::kTwo;
        case 4:
            return ShapeKind::kFour;
        case 8:
            return ShapeKind::kEight;
        default:
            return ShapeKind::kOther;
    }
}

// What of a node is free. Cards that are unhealthy, or that this pod may not have, have 0 free.
struct Room {
    std::int32_t cpu_milli = kUnlimited;
    std::int32_t memory_mib = kUnlimited;
    ModelId model = 0;
    std::uint8_t cards = 0;  // how many of `free` are cards
    std::uint8_t kinds = 0;  // bit per ShapeKind that runs here; only gpu-clustering looks at it
    std::array<std::uint8_t, kRoomCards> free{};  // percent of each card

    // Percent that is free on all cards together.
    int free_total() const {
        int sum = 0;
        for (int card = 0; card < cards; ++card) sum += free[card];
        return sum;
    }
    int empty_cards() const {
        int count = 0;
        for (int card = 0; card < cards; ++card) count += free[card] == 100 ? 1 : 0;
        return count;
    }
    bool operator==(const Room&) const = default;
};

// The same for every order of the cards: the most free first.
inline Room sorted_room(const Room& room) {
    Room out = room;
    for (int i = 1; i < room.cards; ++i) {  // short, and mostly sorted already
        const std::uint8_t value = out.free[i];
        int at = i;
        for (; at > 0 && out.free[at - 1] < value; --at) out.free[at] = out.free[at - 1];
        out.free[at] = value;
    }
    return out;
}

// Whether CPU, memory and model allow it; cards are not looked at.
inline bool admits(const Room& room, const Shape& shape) {
    return (room.cpu_milli == kUnlimited || shape.cpu_milli <= room.cpu_milli) &&
           (room.memory_mib == kUnlimited || shape.memory_mib <= room.memory_mib) &&
           (shape.cards == 0 || shape.allows(room.model));
}

// Whether one such pod fits: a share on one card, `cards` cards with `percent` free each.
inline bool fits(const Room& room, const Shape& shape) {
    if (!admits(room, shape)) return false;
    int able = 0;
    for (int card = 0; card < room.cards; ++card) able += room.free[card] >= shape.percent ? 1 : 0;
    return able >= shape.cards;
}

}  // namespace egpu::core
