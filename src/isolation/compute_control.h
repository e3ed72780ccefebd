// Between the pages and guard::AgentControl, which says how the containers of a card share its
// time. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "guard/compute/agent_control.h"
#include "guard/pages.h"
#include "isolation/ledger_copy.h"
#include "isolation/quota.h"

namespace egpu::isolation {

// What the allocation `token` did on the card at `position` of its quota.
guard::ContainerSample sample_of(
    std::string_view token,
    const Quota& quota,
    const LedgerCopy& ledger,
    std::size_t position,
    const std::optional<guard::Measured>& measured = std::nullopt
);

void apply_control(const guard::ContainerControl& control, guard::DeviceLimits& limits);

}  // namespace egpu::isolation
