// Cards that could be freed by moving their pods, and the sets of them with the fewest pods. Pure.
// Internal to defragment.
#pragma once

#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "core/relocation.h"

namespace egpu::core {

struct CardSet {
    int pods = 0;     // different ones
    int percent = 0;  // used on all its cards
    int node = -1;
    std::uint32_t cards = 0;  // bits of ClearableCards::cards

    auto key() const { return std::tuple(pods, percent, node, cards); }
    bool operator<(const CardSet& other) const { return key() < other.key(); }
};

struct CardSets {
    std::vector<CardSet> sets;  // sorted
    // Pods of the smallest set that is not among them.
    int left_out = std::numeric_limits<int>::max();
};

struct ClearableCards {
    static constexpr std::size_t kMostForSets = 16;
    static constexpr std::size_t kSets = 64;

    std::vector<CardSpot> cards;
    std::vector<std::vector<int>> pods;  // by card
    std::vector<int> percent;            // by card

    // The kMostForSets cards with the fewest pods, then the least used.
    void keep_cheapest();
    // The positions of the cards, those first that cost least.
    std::vector<int> cheapest_first() const;
    // All sets of `need` cards (at most kMostForSets are there), of which the best kSets are kept.
    CardSets sets(int need, int node) const;
};

}  // namespace egpu::core
