#include "core/string_pool.h"

#include "base/check.h"

namespace egpu::core {

StringId StringPool::acquire(std::string_view text) {
    if (text.empty()) return 0;
    const std::uint32_t hash = FlatIndex::hash(text);
    StringId id = index_.find(hash, [&](StringId slot) { return slots_[slot].text == text; });
    if (id == FlatIndex::kNone) {
        if (free_.empty()) {
            id = static_cast<StringId>(slots_.size());
            slots_.emplace_back();
        } else {
            id = free_.back();
            free_.pop_back();
        }
        slots_[id].text = text;
        index_.insert(hash, id);
    }
    ++slots_[id].uses;
    return id;
}

void StringPool::release(StringId id) {
    if (id == 0) return;
    Slot& slot = slots_[id];
    EG_CHECK(slot.uses > 0);
    if (--slot.uses > 0) return;
    index_.erase(FlatIndex::hash(slot.text), id);
    slot.text = {};
    free_.push_back(id);
}

}  // namespace egpu::core
