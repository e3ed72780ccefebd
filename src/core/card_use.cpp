#include "core/card_use.h"

#include <algorithm>

#include "core/card.h"

namespace egpu::core {

std::vector<Demand> demands_of(const PodRequest& request) {
    std::vector<Demand> demands;
    demands.reserve(request.containers.size());
    for (const ContainerRequest& container : request.containers) {
        Demand demand;
        demand.memory_mib = container.memory_mib;
        demand.cards = static_cast<std::uint16_t>(container.cards);
        demand.percent = static_cast<std::uint8_t>(container.percent);
        demand.kind = container.kind;
        demand.whole = container.whole;
        demand.nvidia = container.resource == kResourceWhole;
        demands.push_back(demand);
    }
    return demands;
}

void adapt_to_replicas(std::vector<Demand>& demands, int replicas) {
    for (Demand& demand : demands) {
        if (!demand.nvidia && !demand.replica) continue;
        demand.replica = replicas > 1;
        demand.nvidia = demand.whole = !demand.replica;
        demand.percent = static_cast<std::uint8_t>(
            demand.replica ? std::max(1, kCardUnits / replicas) : kCardUnits
        );
    }
}

std::int64_t memory_on(const Demand& demand, std::int64_t card_memory_mib) {
    if (demand.whole) return card_memory_mib;
    if (demand.memory_mib > 0) return demand.memory_mib;
    return card_memory_mib * demand.percent / kCardUnits;
}

int phase_count(std::span<const Demand> demands) {
    return 1 + static_cast<int>(std::count_if(demands.begin(), demands.end(), [](const Demand& d) {
               return d.kind == ContainerKind::kInit;
           }));
}

std::vector<Life> lives_of(std::span<const Demand> demands) {
    const int last = phase_count(demands) - 1;
    std::vector<Life> lives;
    lives.reserve(demands.size());
    int phase = 0;
    for (const Demand& demand : demands) {
        if (demand.kind == ContainerKind::kInit) {
            lives.push_back({phase, phase + 1});
            ++phase;
        } else {
            lives.push_back({demand.kind == ContainerKind::kSidecar ? phase : last, last + 1});
        }
    }
    return lives;
}

int total_units(std::span<const Demand> demands) {
    const std::vector<Life> lives = lives_of(demands);
    std::vector<int> percent(phase_count(demands));
    std::vector<int> nvidia(percent.size());
    for (std::size_t i = 0; i < demands.size(); ++i) {
        std::vector<int>& pool = demands[i].nvidia ? nvidia : percent;
        for (int p = lives[i].begin; p < lives[i].end; ++p) pool[p] += demands[i].units();
    }
    return *std::max_element(percent.begin(), percent.end()) +
           *std::max_element(nvidia.begin(), nvidia.end());
}

namespace {

// All that one pod has on one card, phase by phase.
struct Load {
    int card = 0;
    bool whole = false;
    std::vector<int> percent;
    std::vector<int> nvidia;  // the same for cards through nvidia.com/gpu
    std::vector<std::int64_t> memory;
};

CardUse peak_of(const Load& load, std::int64_t card_memory_mib) {
    CardUse use{load.card, 0, 0, load.whole};
    const int nvidia = *std::max_element(load.nvidia.begin(), load.nvidia.end());
    use.percent = nvidia + *std::max_element(load.percent.begin(), load.percent.end());
    use.memory_mib = *std::max_element(load.memory.begin(), load.memory.end());
    if (nvidia > 0) use.memory_mib = std::max(use.memory_mib, card_memory_mib);
    return use;
}

}  // namespace

void card_use(
    std::span<const CardView> cards,
    std::span<const Demand> demands,
    std::span<const int> choice,
    std::vector<CardUse>& out
) {
    out.clear();
    if (demands.size() == 1) {  // nearly every pod
        const Demand& only = demands[0];
        for (const int card : choice) {
            const std::int64_t memory = memory_on(only, cards[card].memory_mib);
            out.push_back({card, only.percent, memory, only.whole});
        }
        return;
    }
    const auto phases = static_cast<std::size_t>(phase_count(demands));
    const std::vector<Life> lives = lives_of(demands);
    std::vector<Load> loads;
    std::size_t next = 0;
    for (std::size_t i = 0; i < demands.size(); ++i) {
        for (int n = 0; n < demands[i].cards; ++n) {
            const int card = choice[next++];
            auto it = std::find_if(loads.begin(), loads.end(), [&](const Load& load) {
                return load.card == card;
            });
            if (it == loads.end()) {
                it = loads.insert(it, Load{card, false, {}, {}, {}});
                it->percent.resize(phases);
                it->nvidia.resize(phases);
                it->memory.resize(phases);
            }
            it->whole |= demands[i].whole;
            std::vector<int>& percent = demands[i].nvidia ? it->nvidia : it->percent;
            const std::int64_t memory = memory_on(demands[i], cards[card].memory_mib);
            for (int phase = lives[i].begin; phase < lives[i].end; ++phase) {
                percent[phase] += demands[i].percent;
                it->memory[phase] += memory;
            }
        }
    }
    for (const Load& load : loads) out.push_back(peak_of(load, cards[load.card].memory_mib));
    std::sort(out.begin(), out.end(), [](const CardUse& a, const CardUse& b) {
        return a.card < b.card;
    });
}

NodeChange node_change(std::span<const CardView> cards, std::span<const CardUse> use) {
    NodeChange change;
    for (const CardView& card : cards) {
        ++change.cards;
        change.used_before += kCardUnits - card.free_percent;
        if (card.empty && card.healthy) ++change.empty_before;
    }
    change.used_after = change.used_before;
    change.empty_after = change.empty_before;
    for (const CardUse& one : use) {
        const CardView& card = cards[one.card];
        change.used_after += one.percent;
        if (card.empty && card.healthy) --change.empty_after;
        if (one.whole) continue;
        ++change.share_cards;
        if (card.empty) ++change.opened;
        change.share_used += kCardUnits - card.free_percent + one.percent;
    }
    return change;
}

}  // namespace egpu::core
