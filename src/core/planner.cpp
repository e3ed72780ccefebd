#include "core/planner.h"

#include <algorithm>

#include "core/card_search.h"
#include "core/card_use.h"
#include "core/model.h"
#include "core/topology.h"

namespace egpu::core {
namespace {

// `links`: link_matrix() of the cards, or empty.
std::vector<CardView> views_of(
    const std::vector<CardState>& cards,
    const std::vector<std::string>& models,
    const std::vector<Link>& links
) {
    std::vector<CardView> views;
    views.reserve(cards.size());
    for (const CardState& state : cards) {
        CardView view;
        view.index = state.card.index;
        view.free_percent = std::clamp(kCardUnits - state.used_percent, 0, kCardUnits);
        view.memory_mib = std::max<std::int64_t>(0, state.card.memory_mib);
        view.free_memory_mib = std::max<std::int64_t>(0, view.memory_mib - state.used_memory_mib);
        view.empty = state.used_percent <= 0 && state.used_memory_mib <= 0;
        view.healthy = state.card.healthy;
        view.usable = view.healthy && model_acceptable(models, state.card.model);
        if (!links.empty()) view.links = &links[views.size() * cards.size()];
        views.push_back(view);
    }
    return views;
}

Error invalid(const std::string& container, const std::string& what) {
    return {ErrorCode::kInvalid, "container " + container + ": " + what};
}

// The card's position, or size() when it is not there. The UUID decides where both sides have one.
std::size_t find_card(const std::vector<Card>& cards, const CardShare& share) {
    const auto it = std::find_if(cards.begin(), cards.end(), [&](const Card& card) {
        if (!share.uuid.empty() && !card.uuid.empty()) return card.uuid == share.uuid;
        return card.index == share.index;
    });
    return static_cast<std::size_t>(it - cards.begin());
}

Status resolve_container(
    const std::vector<Card>& cards,
    const ContainerRequest& request,
    const Placement& placement,
    CardChoice& choice
) {
    const auto it = std::find_if(
        placement.containers.begin(),
        placement.containers.end(),
        [&](const ContainerPlacement& c) { return c.container == request.name; }
    );
    if (it == placement.containers.end()) return invalid(request.name, "no placement");
    if (static_cast<int>(it->cards.size()) != request.cards) {
        return invalid(
            request.name,
            "placed on " + std::to_string(it->cards.size()) + " cards, asks for " +
                std::to_string(request.cards)
        );
    }
    const std::size_t first = choice.size();
    for (const CardShare& share : it->cards) {
        const std::size_t card = find_card(cards, share);
        if (card == cards.size()) {
            return invalid(
                request.name,
                "card " + (share.uuid.empty() ? std::to_string(share.index) : share.uuid) +
                    " is not on this node"
            );
        }
        const int position = static_cast<int>(card);
        if (std::count(
                choice.begin() + static_cast<std::ptrdiff_t>(first), choice.end(), position
            )) {
            return invalid(request.name, "the same card twice");
        }
        choice.push_back(position);
    }
    return {};
}

}  // namespace

PlanResult plan(
    const std::vector<CardState>& cards,
    const PodRequest& request,
    const Policy& policy,
    const PolicyContext& context
) {
    std::vector<Card> bare;
    for (const CardState& state : cards) bare.push_back(state.card);
    const std::vector<Link> links = link_matrix(bare);
    const std::vector<CardView> views = views_of(cards, request.models, links);
    std::vector<Demand> demands = demands_of(request);
    if (!cards.empty()) adapt_to_replicas(demands, cards.front().card.replicas);
    CardSearch search(std::move(demands));
    CardChoice choice;
    int steps = kPlanSteps;
    if (search.plan(views, policy, context, steps, choice) != PlanStatus::kFits) {
        steps = kPlanSteps;
        return explain_misfit(views, search, request.models, steps);
    }
    Placement placement;
    std::size_t next = 0;
    for (std::size_t i = 0; i < request.containers.size(); ++i) {
        const ContainerRequest& container = request.containers[i];
        const int percent = search.demands()[i].percent;
        ContainerPlacement placed{container.name, {}};
        for (int n = 0; n < container.cards; ++n) {
            const Card& card = cards[static_cast<std::size_t>(choice[next++])].card;
            placed.cards.push_back({card.uuid, card.index, percent, container.memory_mib});
        }
        placement.containers.push_back(std::move(placed));
    }
    return placement;
}

Result<std::vector<CardState>> use_of(
    const std::vector<Card>& cards, const PodRequest& request, const Placement& placement
) {
    std::vector<CardState> states;
    for (const Card& card : cards) states.push_back({card, 0, 0});
    CardChoice choice;
    for (const ContainerRequest& container : request.containers) {
        EG_TRY_VOID(resolve_container(cards, container, placement, choice));
    }
    std::vector<CardUse> uses;
    std::vector<Demand> demands = demands_of(request);
    if (!cards.empty()) adapt_to_replicas(demands, cards.front().replicas);
    card_use(views_of(states, {}, {}), demands, choice, uses);
    for (const CardUse& use : uses) {
        if (use.percent > kCardUnits) {
            return Error{
                ErrorCode::kInvalid,
                "more than 100 percent of card " + std::to_string(cards[use.card].index) +
                    " for one pod"};
        }
        states[use.card].used_percent = use.percent;
        states[use.card].used_memory_mib = use.memory_mib;
    }
    return states;
}

}  // namespace egpu::core
