// A hash table from text to a slot number, where the text itself lives elsewhere (in the slot):
// 8 bytes an entry, no allocation a key, look-up by string_view. Linear probing, erase by shifting
// back. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace egpu::core {

class FlatIndex {
  public:
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;

    // Eight bytes at a time: names are looked up thousands at once.
    static std::uint32_t hash(std::string_view text) {
        constexpr std::uint64_t kMultiplier = 0x9FB21C651E98DF25ULL;
        std::uint64_t h = text.size() * kMultiplier;
        const auto mix = [&h](std::uint64_t word) {
            h = (h ^ word) * kMultiplier;
            h ^= h >> 29;
        };
        const auto load = [](const char* at, auto word) {
            std::memcpy(&word, at, sizeof(word));
            return word;
        };
        const char* at = text.data();
        const char* end = at + text.size();
        if (text.size() >= 8) {
            for (; end - at > 8; at += 8) mix(load(at, std::uint64_t{}));
            mix(load(end - 8, std::uint64_t{}));  // may overlap the one before
        } else if (text.size() >= 4) {
            mix(load(at, std::uint32_t{}) |
                static_cast<std::uint64_t>(load(end - 4, std::uint32_t{})) << 32);
        } else {
            for (; at != end; ++at) mix(static_cast<unsigned char>(*at));
        }
        return static_cast<std::uint32_t>(h ^ (h >> 32));
    }

    // The slot for which same(slot) holds among those with this hash, or kNone.
    template <class Same>
    std::uint32_t find(std::uint32_t hash, Same&& same) const {
        if (entries_.empty()) return kNone;
        const std::uint32_t mask = static_cast<std::uint32_t>(entries_.size() - 1);
        for (std::uint32_t i = hash & mask;; i = (i + 1) & mask) {
            const Entry& entry = entries_[i];
            if (entry.slot == kNone) return kNone;
            if (entry.hash == hash && same(entry.slot)) return entry.slot;
        }
    }

    void insert(std::uint32_t hash, std::uint32_t slot) {
        if ((size_ + 1) * 2 > entries_.size()) grow();
        place(hash, slot);
        ++size_;
    }

    void erase(std::uint32_t hash, std::uint32_t slot) {
        if (entries_.empty()) return;
        const std::uint32_t mask = static_cast<std::uint32_t>(entries_.size() - 1);
        std::uint32_t i = hash & mask;
        while (entries_[i].slot != slot) {
            if (entries_[i].slot == kNone) return;
            i = (i + 1) & mask;
        }
        for (std::uint32_t j = (i + 1) & mask; entries_[j].slot != kNone; j = (j + 1) & mask) {
            const std::uint32_t home = entries_[j].hash & mask;
            if (((j - home) & mask) < ((j - i) & mask)) continue;  // would move before its home
            entries_[i] = entries_[j];
            i = j;
        }
        entries_[i] = {};
        --size_;
    }

    std::size_t size() const { return size_; }

  private:
    struct Entry {
        std::uint32_t hash = 0;
        std::uint32_t slot = kNone;
    };

    void place(std::uint32_t hash, std::uint32_t slot) {
        const std::uint32_t mask = static_cast<std::uint32_t>(entries_.size() - 1);
        std::uint32_t i = hash & mask;
        while (entries_[i].slot != kNone) i = (i + 1) & mask;
        entries_[i] = {hash, slot};
    }

    void grow() {
        std::vector<Entry> old(entries_.empty() ? 16 : entries_.size() * 2);
        old.swap(entries_);
        for (const Entry& entry : old) {
            if (entry.slot != kNone) place(entry.hash, entry.slot);
        }
    }

    std::vector<Entry> entries_;  // size is a power of two
    std::size_t size_ = 0;
};

}  // namespace egpu::core
