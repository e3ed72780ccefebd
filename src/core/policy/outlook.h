// An immutable picture of the demand that is expected and of what is scarce: what a potential
// policy's scores are made of. Replaced as a whole, never changed.
#pragma once

#include <cstdint>
#include <memory>

#include "core/policy/fragmentation.h"
#include "core/policy/futures.h"
#include "core/policy/scarcity.h"

namespace egpu::core {

struct Outlook {
    std::shared_ptr<const Fragmentation> fragmentation;  // fgd
    std::shared_ptr<const Futures> futures;              // fill-gradient, both
    std::shared_ptr<const Scarcity> scarcity;
};

// The same for every order of the cards, and for cards without room: values are kept by this.
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

}  // namespace egpu::core
