// Texts that repeat (card UUIDs, models, container names), each stored once and counted, so that a
// pod costs a few hundred bytes and untrusted texts go when their last user goes. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/flat_index.h"

namespace egpu::core {

using StringId = std::uint32_t;  // 0 is ""

class StringPool {
  public:
    StringPool() { slots_.emplace_back(); }

    // Each acquire() needs one release() of the id it returned.
    StringId acquire(std::string_view text);
    void release(StringId id);
    std::string_view text(StringId id) const { return slots_[id].text; }
    std::size_t size() const { return index_.size(); }

  private:
    struct Slot {
        std::string text;
        std::uint32_t uses = 0;
    };

    std::deque<Slot> slots_;
    std::vector<StringId> free_;
    FlatIndex index_;
};

}  // namespace egpu::core
