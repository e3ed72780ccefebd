#include "core/plan_one.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace egpu::core {

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
        if (demand.cards > 1) {
            ranked.push_back(one);
        } else if (!best || one < *best) {
            best = one;
        }
    }
    if (demand.cards == 1) {
        if (!best) return false;
        choice.push_back(best->card);
        return true;
    }
    if (ranked.size() < demand.cards) return false;
    std::partial_sort(ranked.begin(), ranked.begin() + demand.cards, ranked.end());
    for (int n = 0; n < demand.cards; ++n) choice.push_back(ranked[n].card);
    return true;
}

}  // namespace egpu::core
