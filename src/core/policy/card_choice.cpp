#include "core/policy/card_choice.h"

#include <algorithm>

namespace egpu::core {

Room room_after(const Room& room, const Shape& shape, int card) {
    Room after = room;
    if (after.cpu_milli != kUnlimited) after.cpu_milli -= shape.cpu_milli;
    if (after.memory_mib != kUnlimited) after.memory_mib -= shape.memory_mib;
    after.kinds |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind_of(shape)));
    const auto take = [&](int which) {
        after.free[which] = static_cast<std::uint8_t>(after.free[which] - shape.percent);
    };
    if (shape.cards == 1 && card >= 0) {
        take(card);
        return after;
    }
    std::array<bool, kRoomCards> taken{};
    for (int left = shape.cards; left > 0; --left) {
        int best = -1;
        for (int each = 0; each < room.cards; ++each) {
            if (taken[each] || room.free[each] < shape.percent) continue;
            if (best < 0 || room.free[each] < room.free[best]) best = each;
        }
        if (best < 0) break;
        taken[best] = true;
        take(best);
    }
    return after;
}

CardOptions card_options(const Room& room, const Shape& shape, CardRule rule, std::uint64_t hash) {
    CardOptions out;
    const auto add = [&](int card) { out.card[out.count++] = static_cast<std::int8_t>(card); };
    if (shape.cards != 1 || shape.percent == 100) {
        if (fits(room, shape)) add(-1);
        return out;
    }
    if (!admits(room, shape)) return out;
    std::array<bool, 101> seen{};
    for (int card = 0; card < room.cards; ++card) {
        const int free = room.free[card];
        if (free < shape.percent) continue;
        if (rule == CardRule::kRandom) {
            add(card);
            continue;
        }
        if (rule == CardRule::kByScore) {
            if (!seen[free]) add(card);
            seen[free] = true;
            continue;
        }
        if (out.count == 0) {
            add(card);
            continue;
        }
        const int chosen = room.free[out.card[0]];
        const bool better = rule == CardRule::kLeastFree ? free < chosen : free > chosen;
        if (better) out.card[0] = static_cast<std::int8_t>(card);
    }
    if (rule == CardRule::kRandom && out.count > 1) {
        out.card[0] = out.card[hash % static_cast<std::uint64_t>(out.count)];
        out.count = 1;
    }
    return out;
}

}  // namespace egpu::core
