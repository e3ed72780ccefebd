// The values of rooms that have been met, found by the room. Rooms are equal here when a policy
// cannot tell them apart: in any order of cards, full cards left out. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/policy/outlook.h"
#include "core/room.h"

namespace egpu::core {

using ValueId = std::uint32_t;

class ValueMemo {
  public:
    // Ids stay valid until clear().
    ValueId find(const Room& room);
    std::size_t size() const { return values_.size(); }
    void clear();

    // The potential of the room: how good it is to have. Computed when it is not known yet.
    double value(ValueId id, const Outlook& outlook) {
        Value& value = values_[id];
        if (value.asked_version != price_version_) first_asked(id, outlook);
        return value.fill + value.price;
    }
    // What was computed from prices is out of date; or everything is.
    void forget_prices();
    void forget_all();

    const Room& room(ValueId id) const { return values_[id].room; }
    // The rooms that somebody asked for since the prices changed.
    const std::vector<ValueId>& asked() const { return asked_; }
    // A price that was computed elsewhere.
    void set_price(ValueId id, double price);

  private:
    struct Value {
        Room room;
        std::uint32_t asked_version = 0;
        std::uint32_t fill_version = 0;
        std::uint32_t price_version = 0;
        double fill = 0;
        double price = 0;
    };
    void first_asked(ValueId id, const Outlook& outlook);
    void grow();

    std::uint32_t fill_version_ = 1;
    std::uint32_t price_version_ = 1;
    std::vector<Value> values_;
    std::vector<ValueId> asked_;
    std::vector<std::uint32_t> slots_;  // open addressing: id + 1, 0 is free
};

}  // namespace egpu::core
