// Brings the ledger in line with the kubelet's books: names put right, cards put right, unknown containers adopted.
// Pure; the caller holds the ledger.
#pragma once

#include <span>

#include "agent/identity.h"
#include "agent/node_ledger.h"
#include "agent/pods_view.h"

namespace egpu::agent {

// True when the ledger changed. Adopts entries that are alive, and unclear ones whose IDs nobody else has: after a restart
// of the kubelet they may be all that is known about running containers.
bool take_over(NodeLedger& ledger, std::span<const BookEntry> entries, const PodsView& view);

}  // namespace egpu::agent
