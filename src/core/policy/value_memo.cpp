#include "core/policy/value_memo.h"

#include <cstring>

namespace egpu::core {
namespace {

Room key_of(const Room& room) {
    Room key = sorted_room(room);
    key.kinds = 0;
    while (key.cards > 0 && key.free[key.cards - 1] == 0) --key.cards;
    return key;
}

std::uint64_t hash_of(const Room& key) {
    std::uint64_t words[2];
    std::memcpy(words, key.free.data(), sizeof words);
    std::uint64_t h = static_cast<std::uint32_t>(key.cpu_milli);
    h = (h << 32) ^ static_cast<std::uint32_t>(key.memory_mib);
    h = (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9ULL;
    h = (h ^ words[0] ^ (h >> 32)) * 0x94D049BB133111EBULL;
    h = (h ^ words[1] ^ (h >> 29)) * 0x9E3779B97F4A7C15ULL;
    h = (h ^ key.model ^ (h >> 32)) * 0xD6E8FEB86659FD93ULL;
    return h ^ (h >> 32);
}

}  // namespace

ValueId ValueMemo::find(const Room& room) {
    if (values_.size() * 2 >= slots_.size()) grow();
    const Room key = key_of(room);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = hash_of(key) & mask;; at = (at + 1) & mask) {
        if (slots_[at] == 0) {
            values_.push_back({key});
            slots_[at] = static_cast<std::uint32_t>(values_.size());
            return slots_[at] - 1;
        }
        if (values_[slots_[at] - 1].room == key) return slots_[at] - 1;
    }
}

void ValueMemo::clear() {
    values_.clear();
    asked_.clear();
    slots_.assign(slots_.size(), 0);
}

void ValueMemo::grow() {
    const std::size_t size = slots_.empty() ? 1024 : slots_.size() * 2;
    slots_.assign(size, 0);
    for (std::size_t id = 0; id < values_.size(); ++id) {
        std::size_t at = hash_of(values_[id].room) & (size - 1);
        while (slots_[at] != 0) at = (at + 1) & (size - 1);
        slots_[at] = static_cast<std::uint32_t>(id + 1);
    }
}

void ValueMemo::forget_prices() {
    ++price_version_;
    asked_.clear();
}

void ValueMemo::forget_all() {
    forget_prices();
    ++fill_version_;
}

void ValueMemo::set_price(ValueId id, double price) {
    values_[id].price = price;
    values_[id].price_version = price_version_;
}

void ValueMemo::first_asked(ValueId id, const Outlook& outlook) {
    Value& value = values_[id];
    value.asked_version = price_version_;
    asked_.push_back(id);
    if (value.fill_version != fill_version_) {
        value.fill_version = fill_version_;
        // FGD minimises an amount; here more is better.
        value.fill = outlook.fragmentation ? -outlook.fragmentation->amount(value.room)
                     : outlook.futures     ? outlook.futures->value(value.room)
                                           : 0;
    }
    if (value.price_version != price_version_) {
        value.price_version = price_version_;
        value.price = outlook.scarcity ? outlook.scarcity->value(value.room) : 0;
    }
}

}  // namespace egpu::core
