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

}  // namespace egpu::core
