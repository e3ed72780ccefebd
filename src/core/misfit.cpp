#include "core/misfit.h"

#include <algorithm>

#include "core/card.h"

namespace egpu::core {
namespace {

std::string cards_text(int count) {
    return std::to_string(count) + (count == 1 ? " card" : " cards");
}

bool memory_fits(const CardView& card, std::int64_t memory_mib) {
    return card.memory_mib == 0 || memory_mib <= card.memory_mib;
}

// A container that no card of the node could take, were it empty; "" when there is none.
std::string impossible_container(std::span<const CardView> cards, std::span<const Demand> demands) {
    int usable = 0;
    for (const CardView& card : cards) usable += card.usable;
    for (const Demand& demand : demands) {
        if (demand.cards > usable) return too_few_cards_text(demand.cards, usable);
        int large_enough = 0;
        for (const CardView& card : cards) {
            large_enough += card.usable && memory_fits(card, demand.memory_mib);
        }
        if (large_enough < demand.cards) return no_memory_text(demand.memory_mib);
    }
    return {};
}

// A container that does not even fit alone; "" when there is none.
std::string crowded_container(std::span<const CardView> cards, std::span<const Demand> demands) {
    for (const Demand& demand : demands) {
        int fitting = 0;
        bool percent_fits = false;
        for (const CardView& card : cards) {
            if (!card.usable || card.free_percent < demand.percent) continue;
            if (demand.whole && !card.empty) continue;
            percent_fits = true;
            fitting +=
                card.memory_mib == 0 || memory_on(demand, card.memory_mib) <= card.free_memory_mib;
        }
        if (fitting >= demand.cards) continue;
        if (demand.whole) return too_few_empty_text(demand.cards, fitting);
        if (percent_fits && demand.memory_mib > 0) return no_share_text(demand);
        if (percent_fits)
            return "no card with memory left for " + std::to_string(demand.percent) + " percent";
        return no_share_text({.percent = demand.percent});
    }
    return {};
}

}  // namespace

std::string no_cards_text() {
    return "the node has no GPU cards";
}

std::string no_healthy_card_text() {
    return "no healthy card";
}

std::string no_model_text(const std::vector<std::string>& models) {
    std::string text = "no healthy card of model ";
    for (std::size_t i = 0; i < models.size(); ++i) text += (i == 0 ? "" : " or ") + models[i];
    return text;
}

std::string no_share_text(const Demand& demand) {
    std::string text = "no card with " + std::to_string(demand.percent) + " percent";
    if (demand.memory_mib > 0) text += " and " + std::to_string(demand.memory_mib) + " MiB";
    return text + " free";
}

std::string too_few_cards_text(int wanted, int there) {
    return "asks for " + cards_text(wanted) + " in one container, the node has " +
           std::to_string(there) + " that could serve";
}

std::string too_few_empty_text(int wanted, int there) {
    if (wanted == 1) return "no completely free card";
    return std::to_string(wanted) + " completely free cards needed, " + std::to_string(there) +
           " there";
}

std::string not_together_text(std::size_t containers) {
    return "no room for the pod's " + std::to_string(containers) + " GPU containers together";
}

std::string never_together_text(std::size_t containers) {
    return not_together_text(containers) + ", not even on empty cards";
}

std::string no_memory_text(std::int64_t memory_mib) {
    return "no card with " + std::to_string(memory_mib) + " MiB of memory";
}

Misfit explain_misfit(
    std::span<const CardView> cards,
    CardSearch& search,
    const std::vector<std::string>& models,
    int& steps
) {
    const std::vector<Demand>& demands = search.demands();
    if (cards.empty()) return {no_cards_text(), true};
    const auto any = [&](auto&& test) { return std::any_of(cards.begin(), cards.end(), test); };
    if (!any([](const CardView& card) { return card.healthy; })) {
        return {no_healthy_card_text(), true};
    }
    if (!any([](const CardView& card) { return card.usable; })) {
        return {no_model_text(models), true};
    }
    if (auto text = impossible_container(cards, demands); !text.empty()) {
        return {std::move(text), true};
    }
    if (demands.size() > 1) {
        std::vector<CardView> emptied(cards.begin(), cards.end());
        for (CardView& card : emptied) {
            card.free_percent = kCardUnits;
            card.free_memory_mib = card.memory_mib;
            card.empty = true;
        }
        CardChoice choice;
        const PlanStatus status = search.plan(emptied, default_policy(), {}, steps, choice);
        if (status == PlanStatus::kNoRoom) return {never_together_text(demands.size()), true};
    }
    if (auto text = crowded_container(cards, demands); !text.empty()) {
        return {std::move(text), false};
    }
    return {not_together_text(demands.size()), false};
}

}  // namespace egpu::core
