#include "core/plan_one.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/topology.h"

namespace egpu::core {

CardChoice close_set(
    std::span<const CardView> cards,
    std::span<const int> candidates,
    int count,
    std::span<const int> must,
    int eligible
) {
    CloseCards close(static_cast<int>(candidates.size()));
    for (int a = 0; a < static_cast<int>(candidates.size()); ++a) {
        for (int b = a + 1; b < static_cast<int>(candidates.size()); ++b) {
            close.set(a, b, cards[candidates[a]].links[candidates[b]]);
        }
    }
    CardChoice chosen = close.best(count, must, eligible);
    for (int& position : chosen) position = candidates[position];
    return chosen;
}

bool plan_one(
    std::span<const CardView> cards,
    const Demand& demand,
    const Policy& policy,
    const PolicyContext& context,
    CardChoice& choice
) {
    const auto fits = [&](const CardView& view) {
        if (!view.usable || view.free_percent < demand.percent) return false;
        if (demand.whole && !view.empty) return false;
        if (view.memory_mib == 0) return true;
        return demand.memory_mib <= view.memory_mib &&
               memory_on(demand, view.memory_mib) <= view.free_memory_mib;
    };
    struct Ranked {
        std::int64_t rank;
        int index;
        int card;
        bool operator<(const Ranked& o) const {
            if (rank != o.rank) return rank < o.rank;
            if (index != o.index) return index < o.index;
            return card < o.card;
        }
    };
    choice.clear();
    const bool linked =
        demand.whole && policy.follows_links && !cards.empty() && cards[0].links != nullptr;
    std::vector<Ranked> ranked;
    std::optional<Ranked> best;
    for (int card = 0; card < static_cast<int>(cards.size()); ++card) {
        const CardView& view = cards[card];
        if (!fits(view)) continue;
        const CardOption option{
            view.index,
            view.free_percent,
            view.free_percent - demand.percent,
            view.empty,
            view.memory_mib};
        const Ranked one{policy.card_rank(option, context), view.index, card};
        if (demand.cards > 1 || linked) {
            ranked.push_back(one);
        } else if (!best || one < *best) {
            best = one;
        }
    }
    if (demand.cards == 1 && !linked) {
        if (!best) return false;
        choice.push_back(best->card);
        return true;
    }
    if (ranked.size() < demand.cards) return false;
    if (linked) {
        std::sort(ranked.begin(), ranked.end());
        std::vector<int> ordered;
        for (const Ranked& one : ranked) ordered.push_back(one.card);
        // A single card has no links to choose by, only those it takes from the rest.
        const auto alike = std::upper_bound(
            ranked.begin(),
            ranked.end(),
            ranked.front().rank,
            [](std::int64_t rank, const Ranked& one) { return rank < one.rank; }
        );
        const auto eligible = demand.cards == 1 ? alike - ranked.begin() : std::ssize(ranked);
        choice = close_set(cards, ordered, demand.cards, {}, static_cast<int>(eligible));
        return true;
    }
    std::partial_sort(ranked.begin(), ranked.begin() + demand.cards, ranked.end());
    for (int n = 0; n < demand.cards; ++n) choice.push_back(ranked[n].card);
    return true;
}

}  // namespace egpu::core
