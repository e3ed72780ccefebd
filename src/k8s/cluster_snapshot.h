// A cluster as one JSON document: what `edge-gpu snapshot` writes, and what simulate and describe
// read back. docs/inspect.md has the format. Pure.
//
// Version 1. What is held of cards, CPU and memory is written for people; readers work it out from
// the pods. Unknown fields are ignored, a later version is refused.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "core/cluster.h"

namespace egpu::k8s {

inline constexpr std::string_view kSnapshotKind = "edge-gpu-snapshot";

struct ClusterSnapshot {
    std::string taken;  // RFC 3339; "" when unknown
    bool anonymous = false;
    core::Cluster cluster;

    bool operator==(const ClusterSnapshot&) const = default;
};

// One node or pod a line.
std::string encode_snapshot(const ClusterSnapshot& snapshot);

// Untrusted input: 512 MiB, 20,000 nodes, 1,024 cards of a node and 1,000,000 pods at most.
// kInvalid names the entry and the field. Duplicate nodes, pods (UID) and cards are refused,
// placements only read, not checked against cards: whoever accounts for them does.
Result<ClusterSnapshot> decode_snapshot(std::string_view text);

// Names of nodes, namespaces, pods and containers, and UIDs and UUIDs, replaced by numbered ones;
// equal ones stay equal. Models, amounts and times stay.
ClusterSnapshot anonymized(const ClusterSnapshot& snapshot);

}  // namespace egpu::k8s
