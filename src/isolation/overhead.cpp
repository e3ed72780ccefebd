#include "isolation/overhead.h"

#include <algorithm>

namespace egpu::isolation {

void OverheadEstimate::add(std::optional<std::uint64_t> measured, std::uint64_t claimed) {
    if (!measured) {
        clear();
        return;
    }
    none_ = false;
    beyond_.push_back(*measured > claimed ? *measured - claimed : 0);
    if (beyond_.size() > kWindow) beyond_.pop_front();
}

void OverheadEstimate::clear() {
    beyond_.clear();
    none_ = true;
}

std::optional<std::uint64_t> OverheadEstimate::bytes() const {
    constexpr std::uint64_t kMib = 1U << 20;
    if (none_) return 0;
    if (beyond_.size() < kEnough) return std::nullopt;
    const std::uint64_t least = *std::min_element(beyond_.begin(), beyond_.end());
    return (least + kMib - 1) / kMib * kMib;
}

}  // namespace egpu::isolation
