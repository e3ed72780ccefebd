// The policies over rooms for the live scheduler: keeps a Fleet per policy in use equal to the
// ledger, learns the demand from pods that arrive, and turns scores into the extender's 0..10.
//
// How long a question may take is bounded. A shape of pod that was not asked for before is put to
// the nodes that binpack likes best only, until warm_up() has been through the others; so are pods
// of several containers. Everything a policy has to compute anew (its Outlook) is made by a Refresh
// outside; until there is the first one, binpack answers.
//
// CPU and memory are looked at in steps of 1/64 of the node's, so that like nodes are alike. Nodes
// that a Room cannot hold (more than 16 cards) come last. Pods without a card are not learned from.
//
// Reads no clock. NOT thread-safe; the ledger must not change during a call.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/ledger.h"
#include "core/policy/demand_statistics.h"
#include "core/policy/fleet.h"

namespace egpu::core {

struct LiveOptions {
    double half_life = 10'000;  // of the demand, in arrivals
    std::uint64_t seed = 0;
    std::size_t max_values = 1U << 20;  // per policy
    std::size_t max_shapes = 256;
};

struct LiveTotals {
    std::uint64_t arrivals = 0;
    std::uint64_t refreshes = 0;
    std::uint64_t cold_questions = 0;  // answered from some of the nodes
    std::size_t shapes = 0;
};

// A Refresh on its way; belongs to whoever has it.
struct LiveRefresh {
    std::string policy;
    std::unique_ptr<Refresh> refresh;
};

class LiveFleets {
  public:
    explicit LiveFleets(LiveOptions options = {});
    ~LiveFleets();
    LiveFleets(const LiveFleets&) = delete;
    LiveFleets& operator=(const LiveFleets&) = delete;

    // Policies that this class answers for; the others are the ledger's own.
    static const Scorer* scorer_of(std::string_view policy);

    // Once for each pod that is seen for the first time. `scorer`: the policy that will be asked
    // about it, nullptr for the ledger's own; so its first Outlook may be there by then.
    void arrived(const PodRequest& request, const Scorer* scorer);

    // 0..kMaxScore by position in `nodes`; 0 for nodes that are not there or do not fit. What the
    // policy likes best gets kMaxScore and nothing else does: one node, or several that it cannot
    // tell apart. `query` is of the pod.
    void scores(
        const Ledger& ledger,
        const Scorer& scorer,
        Query& query,
        std::span<const std::optional<NodeId>> nodes,
        std::span<int> out
    );
    // NVML index of the card that a pod with one share gets on this node; nullopt where the planner
    // chooses.
    std::optional<int> card_for(
        const Ledger& ledger, const Scorer& scorer, Query& query, NodeId node
    );

    // --- between the questions ---

    // A Refresh that is due, to be worked off outside and given back; nullopt when there is none.
    std::optional<LiveRefresh> begin_refresh(const Ledger& ledger);
    void end_refresh(LiveRefresh&& refresh);
    // Computes the scores of up to about `nodes` nodes for a shape that was asked for when it was
    // cold. False when there was nothing to do.
    bool warm_up(const Ledger& ledger, std::size_t nodes);

    LiveTotals totals() const;

  private:
    struct Live;

    Live& live(const Scorer& scorer);
    void follow(const Ledger& ledger, Live& live);
    std::optional<Room> room_of(const Ledger& ledger, NodeId node);
    Shape shape_of(const PodRequest& request);
    ModelId model_number(std::string_view model);

    LiveOptions options_;
    std::vector<std::string> models_;  // by ModelId
    DemandStatistics demand_;          // for policies that are first used later
    std::vector<std::unique_ptr<Live>> live_;
    LiveTotals totals_;
};

}  // namespace egpu::core
