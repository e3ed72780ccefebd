#include "core/clearable_cards.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

namespace egpu::core {

std::vector<int> ClearableCards::cheapest_first() const {
    std::vector<int> order(cards.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        return std::tuple(pods[a].size(), percent[a]) < std::tuple(pods[b].size(), percent[b]);
    });
    return order;
}

void ClearableCards::keep_cheapest() {
    if (cards.size() <= kMostForSets) return;
    const std::vector<int> order = cheapest_first();
    ClearableCards kept;
    for (std::size_t i = 0; i < kMostForSets; ++i) {
        kept.cards.push_back(cards[order[i]]);
        kept.pods.push_back(pods[order[i]]);
        kept.percent.push_back(percent[order[i]]);
    }
    *this = std::move(kept);
}

CardSets ClearableCards::sets(int need, int node) const {
    CardSets out;
    const int count = static_cast<int>(cards.size());
    if (need < 1 || need > count) return out;
    std::map<int, std::uint32_t> cards_of_pod;
    for (int card = 0; card < count; ++card) {
        for (const int pod : pods[card]) cards_of_pod[pod] |= 1U << card;
    }
    std::vector<std::uint32_t> several;  // of pods on more than one card
    for (const auto& [pod, mask] : cards_of_pod) {
        if (std::popcount(mask) > 1) several.push_back(mask);
    }
    for (std::uint32_t set = (1U << need) - 1; set < 1U << count;) {
        CardSet one{0, 0, node, set};
        for (std::uint32_t rest = set; rest != 0; rest &= rest - 1) {
            const int card = std::countr_zero(rest);
            one.pods += static_cast<int>(pods[card].size());
            one.percent += percent[card];
        }
        for (const std::uint32_t mask : several) {
            one.pods -= std::max(0, std::popcount(mask & set) - 1);
        }
        out.sets.push_back(one);
        const std::uint32_t low = set & (~set + 1);  // the next set with as many bits
        const std::uint32_t ripple = set + low;
        set = (((ripple ^ set) >> 2) / low) | ripple;
    }
    const std::size_t kept = std::min(kSets, out.sets.size());
    const auto end = out.sets.begin() + static_cast<std::ptrdiff_t>(kept);
    std::partial_sort(out.sets.begin(), end, out.sets.end());
    for (auto it = end; it != out.sets.end(); ++it) out.left_out = std::min(out.left_out, it->pods);
    out.sets.erase(end, out.sets.end());
    return out;
}

}  // namespace egpu::core
