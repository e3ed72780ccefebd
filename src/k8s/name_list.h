// A list of names in one allocation, held the way JSON writes a list: "a","b", - so that a run of
// them is answered with one copy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "k8s/plain_text.h"

namespace egpu::k8s {

// Calls each(first, last) for the longest runs of neighbours.
template <class Each>
void for_each_run(std::span<const std::uint32_t> ascending, Each&& each) {
    for (std::size_t i = 0; i < ascending.size();) {
        std::size_t next = i + 1;
        while (next < ascending.size() && ascending[next] == ascending[next - 1] + 1) ++next;
        each(ascending[i], ascending[next - 1]);
        i = next;
    }
}

class NameList {
  public:
    std::size_t size() const { return ends_.size(); }
    bool empty() const { return ends_.empty(); }
    std::string_view operator[](std::size_t i) const {
        const std::size_t from = begin(i) + 1;
        return {bytes_.data() + from, ends_[i] - 2 - from};
    }
    void reserve(std::size_t names, std::size_t written_size) {
        ends_.reserve(names);
        bytes_.reserve(written_size);
    }
    void add(std::string_view name) {
        all_plain_ = all_plain_ && is_plain(name);
        bytes_ += '"';
        bytes_ += name;
        bytes_ += "\",";
        ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    }
    // Several at once: `run` is names as JSON writes them, plain, a comma behind each; `sizes` the
    // length of each, quotes and comma included.
    void add_run(std::string_view run, const std::vector<std::uint32_t>& sizes) {
        auto end = static_cast<std::uint32_t>(bytes_.size());
        bytes_ += run;
        std::size_t i = ends_.size();
        ends_.resize(i + sizes.size());
        for (const std::uint32_t size : sizes) ends_[i++] = end += size;
    }
    void clear() {
        bytes_.clear();
        ends_.clear();
        all_plain_ = true;
    }

    // JSON needs no escapes for any of them: only then may the next two be called.
    bool all_plain() const { return all_plain_; }
    // Names first to last, as JSON writes them: "a","b"
    std::string_view written(std::size_t first, std::size_t last) const {
        return {bytes_.data() + begin(first), ends_[last] - 1 - begin(first)};
    }
    std::string_view written(std::size_t i) const { return written(i, i); }
    // From name `first` to the end, a comma behind each, too: "b","c",
    std::string_view written_from(std::size_t first) const {
        return std::string_view(bytes_).substr(begin(first));
    }
    // Of `count` names from `first` on, their commas included.
    std::size_t written_size(std::size_t first, std::size_t count) const {
        return count == 0 ? 0 : ends_[first + count - 1] - begin(first);
    }
    // How many names lie whole in the first `bytes` bytes of written_from(first).
    std::size_t within(std::size_t first, std::size_t bytes) const {
        const auto from = ends_.begin() + static_cast<std::ptrdiff_t>(first);
        const auto limit = static_cast<std::uint32_t>(begin(first) + bytes);
        return static_cast<std::size_t>(std::upper_bound(from, ends_.end(), limit) - from);
    }
    // Adds names first to first + count - 1 of another list, which are plain.
    void add_from(const NameList& other, std::size_t first, std::size_t count) {
        if (count == 0) return;
        const std::size_t from = other.begin(first);
        const auto shift = static_cast<std::uint32_t>(bytes_.size() - from);  // may wrap, and back
        bytes_.append(other.bytes_, from, other.ends_[first + count - 1] - from);
        std::size_t i = ends_.size();
        ends_.resize(i + count);
        for (std::size_t n = first; n < first + count; ++n) ends_[i++] = other.ends_[n] + shift;
    }
    // Adds those at `positions`, ascending, of another list, which are plain.
    void add_some(const NameList& other, std::span<const std::uint32_t> positions) {
        std::size_t i = ends_.size();
        ends_.resize(i + positions.size());
        for_each_run(positions, [&](std::uint32_t first, std::uint32_t last) {
            const std::size_t from = other.begin(first);
            const auto shift = static_cast<std::uint32_t>(bytes_.size() - from);  // as above
            bytes_.append(other.bytes_, from, other.ends_[last] - from);
            for (std::uint32_t n = first; n <= last; ++n) ends_[i++] = other.ends_[n] + shift;
        });
    }
    bool operator==(const NameList& other) const {
        return bytes_ == other.bytes_ && ends_ == other.ends_;
    }
    // Of all of them, quotes and commas included.
    std::size_t written_size() const { return bytes_.size(); }

  private:
    std::size_t begin(std::size_t i) const { return i == 0 ? 0 : ends_[i - 1]; }

    std::string bytes_;
    std::vector<std::uint32_t> ends_;  // behind each name's comma
    bool all_plain_ = true;
};

}  // namespace egpu::k8s
