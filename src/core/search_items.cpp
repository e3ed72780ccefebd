#include "core/search_items.h"

#include <algorithm>

#include "core/card_use.h"

namespace egpu::core {
namespace {

Item item_of(std::span<const Demand> demands, std::vector<int> members) {
    const std::vector<Life> lives = lives_of(demands);
    Item item;
    std::vector<int> load(phase_count(demands));
    for (const int i : members) {
        item.whole |= demands[i].whole;
        for (int p = lives[i].begin; p < lives[i].end; ++p) load[p] += demands[i].percent;
    }
    item.peak = *std::max_element(load.begin(), load.end());
    item.cards = demands[members[0]].cards;
    item.nvidia = demands[members[0]].nvidia;
    item.members = std::move(members);
    return item;
}

// The containers that touch the percent pool, one list each time it is filled and used up again;
// and those that never do.
struct Chains {
    std::vector<std::vector<int>> chains;
    std::vector<int> outside;
};

Chains chains_of(std::span<const Demand> demands) {
    Chains found;
    std::vector<int> chain;
    int pool = 0;
    for (int i = 0; i < static_cast<int>(demands.size()); ++i) {
        const Demand& demand = demands[i];
        const bool init = demand.kind == ContainerKind::kInit;
        if (demand.nvidia) continue;
        if (!init && pool == 0) {
            found.outside.push_back(i);
            continue;
        }
        chain.push_back(i);
        pool = init ? std::max(pool, demand.units()) : pool - std::min(pool, demand.units());
        if (pool > 0) continue;
        found.chains.push_back(std::move(chain));
        chain.clear();
    }
    if (!chain.empty()) found.chains.push_back(std::move(chain));
    return found;
}

}  // namespace

std::vector<Item> items_of(std::span<const Demand> demands) {
    std::vector<Item> items;
    std::vector<Item> anywhere;
    Chains found = chains_of(demands);
    for (std::vector<int>& chain : found.chains) {
        const bool spans_cards =
            std::any_of(chain.begin(), chain.end(), [&](int i) { return demands[i].cards > 1; });
        if (!spans_cards) {
            anywhere.push_back(item_of(demands, std::move(chain)));
            continue;
        }
        for (const int i : chain) {
            items.push_back(item_of(demands, {i}));
            items.back().pooled = true;
        }
    }
    for (int i = 0; i < static_cast<int>(demands.size()); ++i) {
        if (demands[i].nvidia) items.push_back(item_of(demands, {i}));
    }
    for (const int i : found.outside) anywhere.push_back(item_of(demands, {i}));
    std::stable_sort(anywhere.begin(), anywhere.end(), [&](const Item& a, const Item& b) {
        if (a.whole != b.whole) return a.whole;
        if (a.cards != b.cards) return a.cards > b.cards;
        if (a.peak != b.peak) return a.peak > b.peak;
        return demands[a.members[0]].memory_mib > demands[b.members[0]].memory_mib;
    });
    for (Item& item : anywhere) {
        item.free = true;
        items.push_back(std::move(item));
    }
    return items;
}

}  // namespace egpu::core
