// Names that requests are likely to carry again in the same order: where they do they are compared,
// not read, and who knows something about each name of the list need not look it up again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "core/flat_index.h"
#include "k8s/name_list.h"

namespace egpu::k8s {

class KnownNames {
  public:
    enum class Entry {
        kFirst,  // requests carry the list from its first name on
        kAny     // from any name on, around the end too, and in pieces
    };

    // `names` are all plain, as NameList says it. With kAny each is there once.
    KnownNames(NameList names, Entry entry) : names_(std::move(names)), entry_(entry) {
        EG_CHECK(names_.all_plain());
        if (entry_ == Entry::kFirst) return;
        for (std::size_t i = 0; i < names_.size(); ++i) {
            index_.insert(core::FlatIndex::hash(names_[i]), static_cast<std::uint32_t>(i));
        }
    }

    const NameList& names() const { return names_; }
    std::size_t size() const { return names_.size(); }
    Entry entry() const { return entry_; }

    // A position of the name; nullopt when it is unknown, and with kFirst.
    std::optional<std::uint32_t> find(std::string_view name) const {
        const std::uint32_t found = index_.find(core::FlatIndex::hash(name), [&](std::uint32_t at) {
            return names_[at] == name;
        });
        if (found == core::FlatIndex::kNone) return std::nullopt;
        return found;
    }

  private:
    NameList names_;
    Entry entry_;
    core::FlatIndex index_;
};

// Neighbours in a request that are neighbours in a KnownNames.
struct KnownRun {
    std::uint32_t first = 0;  // position in the request
    std::uint32_t known = 0;  // position in the list
    std::uint32_t count = 0;
};

}  // namespace egpu::k8s
