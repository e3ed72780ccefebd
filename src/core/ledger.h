// The account of every card of every node and of which pod holds what: the scheduler's state.
//
// What is held is a pure function of the last word on each node and each pod (and of the live
// reservations), whatever the order in which these arrived: a node is recomputed from its pods on
// each change. Pods with a placement that resolves on the node get it, in UID order; the others
// (bound without the extender, or with an annotation that is wrong) are then accounted best-fit,
// and what fits nowhere is spread over what is left. Placements are untrusted: cards, counts and
// room are checked, percents come from the request.
//
// Reads no clock. NOT thread-safe; const members may run beside each other if each caller has its
// own Query.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "core/flat_index.h"
#include "core/host_use.h"
#include "core/ledger_info.h"
#include "core/ledger_node.h"
#include "core/ledger_query.h"
#include "core/placement.h"
#include "core/planner.h"
#include "core/policy.h"
#include "core/request.h"
#include "core/room.h"
#include "core/string_pool.h"

namespace egpu::core {

// A node's cards, or only its allocatable units where no agent of ours publishes them (nano-gpu,
// NVIDIA's plugin): it then has cards without UUID, index 0..n-1.
struct NodeInventory {
    std::vector<Card> cards;
    std::int64_t percent_units = 0;                    // allocatable nano-gpu/gpu-percent
    std::int64_t whole_units = 0;                      // allocatable nvidia.com/gpu
    HostAmounts host{kHostUnlimited, kHostUnlimited};  // allocatable CPU and memory

    bool operator==(const NodeInventory&) const = default;
};

struct PodIdentity {
    std::string uid;
    std::string ns;
    std::string name;

    bool operator==(const PodIdentity&) const = default;
};

// A pod that is bound to a node and not terminal.
struct BoundPod {
    PodIdentity id;
    std::string node;
    PodRequest request;
    std::optional<Placement> placement;  // from its annotations
};

struct LedgerOptions {
    std::string policy = "binpack";  // for pods that name none; must be in the table
    std::uint64_t seed = 0;          // of policy random
    bool count_host = true;          // CPU and memory of nodes and pods; false: all unlimited
};

class Ledger {
  public:
    explicit Ledger(LedgerOptions options = {});
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    // --- the cluster's truth; all idempotent, in any order ---

    // Of cards with the same UUID or the same index only the first counts. News that change nothing
    // leave the node's version() as it is.
    void upsert_node(std::string_view name, const NodeInventory& inventory);
    bool remove_node(std::string_view name);
    // Also turns a reservation of that UID into the pod. Of a pod that asks for no GPU only the CPU
    // and memory are kept; one without UID or node is ignored.
    void upsert_pod(const BoundPod& pod);
    // When terminal or gone. Also drops a reservation of that UID.
    bool remove_pod(std::string_view uid);

    // --- reservations: a bind in flight ---

    // Idempotent by (uid, node): the same placement again, its expiry moved. Errors: kNotFound (no
    // such node), kConflict (that pod is bound or reserved on another node), kExhausted (misfit).
    Result<Placement> reserve(
        const PodIdentity& pod,
        std::string_view node,
        const PodRequest& request,
        TimePoint now,
        Duration ttl,
        std::optional<int> card = {}  // NVML index that a pod with one share gets if it can
    );
    // Keeps the reservation for `ttl` from now on. False when there is no such reservation (it has
    // become the pod already, or has expired).
    bool extend(std::string_view uid, TimePoint now, Duration ttl);
    bool release_reservation(std::string_view uid);
    std::size_t expire(TimePoint now);  // drops what is due; how many

    // --- questions (filter, priorities, preempt) ---

    // `uid`: what this pod itself holds or has reserved counts as free.
    Query query(const PodRequest& request, std::string_view uid = {}) const;
    std::optional<NodeId> find_node(std::string_view name) const;
    // The same, where `guess` is probably it.
    std::optional<NodeId> find_node(std::string_view name, NodeId guess) const {
        if (guess < names_.size() && names_[guess].is(name)) return guess;
        return find_node(name);
    }
    // Moves when a name gets another id or loses the one it had.
    std::uint64_t names_version() const { return names_version_; }
    Verdict fits(NodeId node, Query& query) const;
    Verdict fits(std::string_view node, Query& query) const;
    // 0..10; 0 when it does not fit.
    int score(NodeId node, Query& query) const;
    int score(std::string_view node, Query& query) const;
    // Would it fit if these pods were gone?
    Verdict fits_without(
        std::string_view node, Query& query, std::span<const std::string_view> victims
    ) const;

    // --- for policies over rooms ---

    std::size_t node_slots() const { return nodes_.size(); }  // ids are below
    // What is free on the node; its model, CPU and memory are left to the caller. nullopt when the
    // node is not known, has no card, or more than kRoomCards.
    std::optional<Room> room(NodeId node) const;
    std::string_view card_model(NodeId node) const;  // of the first card
    HostAmounts host(NodeId node) const { return nodes_[node].host; }
    int card_index(NodeId node, int position) const;  // in the room
    // One container, without a memory cap and not an init container.
    static bool asks_for_one(const Query& query);
    // For a pod that asks_for_one(): its room alone decides whether the pod fits.
    bool room_tells_all(NodeId node, const Query& query) const;
    // What a plan of the pod's containers leaves of `before`; nullopt when it does not fit.
    std::optional<Room> room_after(NodeId node, Query& query, const Room& before) const;

    // --- inspection ---

    std::size_t node_count() const { return known_nodes_; }
    std::size_t pod_count() const { return pod_index_.size() - reserved_.size(); }
    // What is left of the node's CPU and memory, below 0 when it is overcommitted; kHostUnlimited
    // where the node has not said what it has.
    HostAmounts host_free(NodeId node) const;
    std::size_t host_pod_count() const { return host_use_.pods(); }
    // Moves on each change of the node's cards, of what is held of them, and of its free CPU and
    // memory; never comes back to an earlier value.
    std::uint64_t version(NodeId node) const { return versions_[node]; }
    std::size_t reservation_count() const { return reserved_.size(); }
    std::vector<std::string> node_names() const;  // sorted
    std::optional<NodeInfo> node(std::string_view name) const;
    std::vector<NodeInfo> nodes() const;                // sorted by name
    std::vector<ReservationInfo> reservations() const;  // sorted by UID
    std::optional<PodInfo> pod(std::string_view uid) const;
    LedgerTotals totals() const;
    // Broken promises, empty when all is well: cards above 100, unaccounted units, stale indexes.
    std::vector<std::string> check_invariants() const;

  private:
    // ledger.cpp: records
    NodeId node_slot(std::string_view name);
    void drop_node_if_unused(NodeId id);
    bool set_cards(NodeRecord& node, const NodeInventory& inventory);  // whether they changed
    PodSlot find_pod(std::string_view uid) const;
    PodRecord make_record(
        const PodIdentity& id,
        NodeId node,
        const PodRequest& request,
        const std::optional<Placement>& placement
    );
    void release_strings(PodRecord& record);
    PodSlot insert_pod(PodRecord record);
    void erase_pod(PodSlot slot);
    void forget_reservation(PodSlot slot);
    Placement recorded_placement(const PodRecord& record) const;

    // ledger_usage.cpp: what follows from the records
    NodeUsage compute_usage(const NodeRecord& node, std::span<const PodSlot> without) const;
    NodeSummary compute_summary(const NodeRecord& node) const;
    void recompute(NodeId id);
    void touch(NodeId id) { versions_[id] = ++last_version_; }
    void put_host(std::string_view uid, std::string_view node, HostAmounts amounts);
    void remove_host(std::string_view uid);

    // ledger_query.cpp
    bool acceptable(Query& query, StringId model) const;
    // Fills query.choice_ (and views_) when it fits.
    Verdict plan_on(const NodeRecord& node, const NodeUsage& usage, Query& query) const;
    int score_plan(const NodeRecord& node, Query& query) const;

    // ledger_info.cpp
    Placement accounted_placement(PodSlot slot) const;
    NodeInfo info_of(const NodeRecord& node) const;
    std::string unplaced_reason(const NodeRecord& node, const PodRecord& record) const;
    void check_node(NodeId id, std::vector<std::string>& broken) const;

    LedgerOptions options_;
    const Policy* policy_;
    StringPool strings_;  // UUIDs, models, container names
    std::vector<NodeRecord> nodes_;
    std::vector<NodeSummary> summaries_;   // beside nodes_
    std::vector<NodeName> names_;          // beside nodes_
    std::vector<std::uint64_t> versions_;  // beside nodes_
    std::uint64_t last_version_ = 0;
    std::uint64_t names_version_ = 0;
    std::vector<NodeId> free_nodes_;
    FlatIndex node_index_;
    std::deque<PodRecord> pods_;
    std::vector<PodSlot> free_pods_;
    FlatIndex pod_index_;
    std::vector<PodSlot> reserved_;
    HostUse host_use_;
    std::size_t known_nodes_ = 0;
};

}  // namespace egpu::core
