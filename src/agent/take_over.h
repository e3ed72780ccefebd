// Brings the ledger in line with the kubelet's books: names put right, cards put right, unknown
// containers adopted. Pure; the caller holds the ledger.
#pragma once

#include <span>

#include "agent/identity.h"
#include "agent/node_ledger.h"
#include "agent/pods_view.h"

namespace egpu::agent {

// True when the ledger changed. Adopts entries that are alive; with `adopt_unclear` also unclear
// ones whose IDs nobody else has: when our own state was lost they may be all that is known about
// running containers. Otherwise an unclear entry without a record is one that was released and that
// the kubelet has not written away yet.
bool take_over(
    NodeLedger& ledger, std::span<const BookEntry> entries, const PodsView& view, bool adopt_unclear
);

}  // namespace egpu::agent
