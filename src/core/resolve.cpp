#include "core/resolve.h"

#include <algorithm>

#include "core/card.h"

namespace egpu::core {
namespace {

// Position of the card, or -1. The UUID decides where both sides have one.
int find_card(std::span<const CardRecord> cards, const PlacedCard& placed) {
    for (std::size_t i = 0; i < cards.size(); ++i) {
        const bool by_uuid = placed.uuid != 0 && cards[i].uuid != 0;
        if (by_uuid ? cards[i].uuid == placed.uuid : cards[i].index == placed.index) {
            return static_cast<int>(i);
        }
    }
    return -1;
}

}  // namespace

Resolution resolve(std::span<const CardRecord> cards, const PodRecord& record, CardChoice& choice) {
    choice.clear();
    if (!record.has_placement) return {ResolveProblem::kNoPlacement, 0, nullptr};
    auto next = record.placed.begin();
    for (std::size_t i = 0; i < record.demands.size(); ++i) {
        const auto first = static_cast<std::ptrdiff_t>(choice.size());
        int count = 0;
        for (; next != record.placed.end() && next->container == i; ++next, ++count) {
            const int card = find_card(cards, *next);
            if (card < 0) return {ResolveProblem::kNoCard, i, &*next};
            if (std::find(choice.begin() + first, choice.end(), card) != choice.end()) {
                return {ResolveProblem::kCardTwice, i, &*next};
            }
            choice.push_back(card);
        }
        if (count == 0) return {ResolveProblem::kContainerMissing, i, nullptr};
        if (count != record.demands[i].cards) return {ResolveProblem::kWrongCount, i, nullptr};
    }
    return {};
}

Placement placement_from_choice(
    std::span<const CardRecord> cards,
    const PodRequest& request,
    std::span<const Demand> demands,
    const CardChoice& choice,
    const StringPool& strings
) {
    Placement placement;
    std::size_t next = 0;
    for (std::size_t i = 0; i < request.containers.size(); ++i) {
        const ContainerRequest& container = request.containers[i];
        ContainerPlacement placed{container.name, {}};
        for (int n = 0; n < container.cards; ++n) {
            const CardRecord& card = cards[static_cast<std::size_t>(choice[next++])];
            placed.cards.push_back(
                {std::string(strings.text(card.uuid)),
                 card.index,
                 demands[i].percent,
                 container.memory_mib}
            );
        }
        placement.containers.push_back(std::move(placed));
    }
    return placement;
}

void fill_views(
    std::span<const CardRecord> cards,
    std::span<const CardUsage> usage,
    bool unhealthy_too,
    std::vector<CardView>& views,
    std::span<const Link> links
) {
    views.clear();
    for (std::size_t i = 0; i < cards.size(); ++i) {
        CardView view;
        view.index = cards[i].index;
        view.free_percent = kCardUnits - usage[i].percent;
        view.empty = usage[i].percent == 0;
        view.healthy = cards[i].healthy;
        view.usable = view.healthy || unhealthy_too;
        view.memory_mib = cards[i].memory_mib;
        view.free_memory_mib = std::max<std::int64_t>(0, cards[i].memory_mib - usage[i].memory_mib);
        if (!links.empty()) view.links = &links[i * cards.size()];
        views.push_back(view);
    }
}

}  // namespace egpu::core
