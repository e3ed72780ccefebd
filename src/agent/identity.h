// Whose container is it? The device plugin API names no pod; the kubelet's books and our view of
// the pods do. Pure functions over one look at the books; nothing here does I/O.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/kubelet_books.h"
#include "agent/node_ledger.h"
#include "agent/pods_view.h"

namespace egpu::agent {

// The annotation (of the CRI container, not of the pod) in our Allocate answer that carries the
// record's token.
inline constexpr std::string_view kAnnotationAllocation = "edge-gpu.io/allocation";

// One container and resource in the kubelet's books, both sources put together.
struct BookEntry {
    enum class Alive { kYes, kUnclear, kNo };

    Holder
        holder;  // confirmed; pod_uid "" when only the list knows it and the pod is not in our view
    Resource resource = Resource::kPercent;
    std::vector<std::string> ids;
    std::string token;  // of our answer, "" when the answer carried none
    std::vector<std::string>
        given;  // UUIDs of the cards our answer named, as far as it can be read
    // kNo: the kubelet has let go of it (checkpoint entries outlive their pods). kUnclear: the list
    // failed, or does not show the pod, which may be gone or not admitted again yet after a restart
    // of the kubelet.
    Alive alive = Alive::kUnclear;
};

std::vector<BookEntry> book_entries(
    const KubeletBooks& books, const PodsView& view, const std::vector<core::Card>& cards
);

// The cards an Allocate answer of ours named (environment, volume mounts, CDI devices or our
// annotation; by UUID or index).
std::vector<std::string> cards_given(
    const kubelet::AllocateResponse& answer, const std::vector<core::Card>& cards
);

// For each record the entry that is its container, or nullptr. By token where there is one, else by
// IDs and then names. Each entry is used once.
std::vector<const BookEntry*> match_records(
    std::span<const Record> records, std::span<const BookEntry> entries
);

// A record for an entry that no record matches: state was lost, or another agent answered. The
// cards are those that were given; else those of the placement; else those the IDs name. nullopt
// when they cannot be known.
std::optional<Record> adopted_record(
    const BookEntry& entry,
    const PodsView& view,
    const std::vector<core::Card>& cards,
    const std::string& token_if_none,
    std::int64_t now
);

// The containers that may be the one under admission: of the listed pods (all pods of the view when
// the list failed), those that ask for `units` and have neither devices in the list nor a record.
using HasRecord = std::function<bool(std::string_view uid, std::string_view container, Resource)>;
std::vector<Candidate> admission_candidates(
    Resource resource,
    int units,
    const std::optional<std::vector<ListedPod>>& listed,
    std::span<const NodePodPtr> pods,
    const HasRecord& has_record,
    const std::vector<core::Card>& cards
);

// May `record`, whose IDs the kubelet offers as free, be dropped? Yes when the list shows nobody
// with these IDs and the record is not of an init container (never listed) whose pod is still
// there.
bool vacated(const Record& record, const std::vector<ListedPod>& listed, const PodsView& view);

}  // namespace egpu::agent
