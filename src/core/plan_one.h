// One container on one card or on N: no search needed. Internal to card_search.
#pragma once

#include <span>

#include "core/demand.h"
#include "core/policy.h"

namespace egpu::core {

// False when it does not fit; then `choice` is empty or meaningless.
bool plan_one(
    std::span<const CardView> cards,
    const Demand& demand,
    const Policy& policy,
    const PolicyContext& context,
    CardChoice& choice
);

// CloseCards::best over `candidates`, which are positions in `cards` in order of preference; so is
// what is returned. `must` and `eligible` count in `candidates`. CardView::links must be there.
CardChoice close_set(
    std::span<const CardView> cards,
    std::span<const int> candidates,
    int count,
    std::span<const int> must,
    int eligible
);

}  // namespace egpu::core
