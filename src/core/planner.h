// Chooses cards on one node for all containers of one pod, or says why there are none. Pure and
// deterministic; polynomial: a first dive of best-fit decreasing, then a search of bounded length.
//
// A share lies on one card; whole cards need completely free ones; unhealthy cards and cards of
// another model take nothing. Memory: a share needs its explicit cap, else its percent of the
// card's memory; cards of unknown memory are not accounted.
//
// Life of a pod, and what the kubelet's device IDs will say (devicemanager: devicesToReuse). Init
// containers run one after another, each beside the sidecars started before it; then all app
// containers beside all sidecars. A card is held with the highest sum of any phase for the pod's
// whole life. Per resource the kubelet keeps a pool R of reusable IDs, empty at first: every
// container that asks for n takes min(n, |R|) IDs from R before new ones; a plain init container's
// IDs all go (back) into R, a sidecar's or an app container's stay with it. So containers that
// draw from R are planned onto the cards whose IDs R holds: they must get exactly those cards, or
// include them when they ask for more. Where R spans several whole cards the kubelet takes any of
// their IDs; the plan is then one of the possible outcomes, on cards the pod holds alone. Cards
// taken through nvidia.com/gpu are held whole from first to last and never serve percent requests.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "core/card.h"
#include "core/misfit.h"
#include "core/placement.h"
#include "core/policy.h"
#include "core/request.h"

namespace egpu::core {

// A card and what other pods hold of it. used_percent is 100 when it is taken whole.
struct CardState {
    Card card;
    int used_percent = 0;
    std::int64_t used_memory_mib = 0;

    bool operator==(const CardState&) const = default;
};

using PlanResult = std::variant<Placement, Misfit>;

// The plan for `request` on these cards. A request that asks for nothing gets an empty placement.
PlanResult plan(
    const std::vector<CardState>& cards,
    const PodRequest& request,
    const Policy& policy,
    const PolicyContext& context = {}
);

// What a pod placed like this holds of each card, in the order of `cards`: the peak over its life.
// kInvalid when the placement does not resolve: a container of the request is missing, a card is
// unknown or listed twice, the number of cards is wrong, or one card would carry more than 100
// percent. What other pods hold is not looked at. Percents and caps are taken from the request.
Result<std::vector<CardState>> use_of(
    const std::vector<Card>& cards, const PodRequest& request, const Placement& placement
);

}  // namespace egpu::core
