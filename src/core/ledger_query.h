// One pod's question to the ledger, prepared once and put to thousands of nodes. Holds the texts of
// its answers: a Verdict's reason lives as long as the Query. One Query per thread; to be used
// before the ledger changes, so within one lock.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/card_search.h"
#include "core/demand.h"
#include "core/ledger_node.h"
#include "core/misfit.h"
#include "core/policy.h"
#include "core/request.h"

namespace egpu::core {

struct Verdict {
    bool fits = false;
    bool permanent = false;   // only when it does not fit: no eviction on this node could help
    std::string_view reason;  // "" when it fits
};

class Query {
  public:
    const PodRequest& request() const { return request_; }
    const Policy& policy() const { return *policy_; }
    std::uint64_t pod_key() const { return pod_key_; }

  private:
    friend class Ledger;
    static constexpr std::uint32_t kNoNode = 0xFFFFFFFF;
    // All nodes together: 50 plans' worth of searching, then only the first dive for each node.
    static constexpr int kTotalSteps = 50 * kPlanSteps;

    Query(const PodRequest& request, const Policy& policy);
    const std::vector<Demand>& demands() const { return search_->demands(); }
    // The search for nodes with so many devices of nvidia.com/gpu on a card.
    CardSearch& search_on(int replicas);
    Verdict refuse(Misfit misfit);

    // ledger_quick.cpp: answers from a node's summary alone.
    void prepare_quick();
    // Each container for itself; the whole truth when there is only one.
    bool quick_fits_alone(const NodeSummary& summary) const {
        return summary.max_free >= largest_share_ && summary.empty >= largest_whole_;
    }
    // Best-fit on the summary's free percents, as the planner's first dive would do it. False when
    // that fails, which proves nothing with several containers. `left`, with several containers
    // only: the free percents afterwards.
    bool quick_plan(
        const NodeSummary& summary,
        NodeChange& change,
        std::array<std::uint8_t, NodeSummary::kMaxCards>* left = nullptr
    ) const;
    // What quick_refusal() has said of one container on such a node before, or nullptr.
    const Verdict* known_refusal(const NodeSummary& summary) const {
        if (summary.healthy == 0 || summary.healthy < largest_whole_) return nullptr;
        const auto& known = alone_[largest_whole_ > 0 ? summary.empty : 0];
        return known ? &*known : nullptr;
    }
    // Why it cannot fit, where that is certain; nullopt when it takes a search.
    std::optional<Verdict> quick_refusal(const NodeSummary& summary);
    bool fits_emptied(int healthy);

    PodRequest request_;
    const Policy* policy_ = nullptr;
    std::unique_ptr<CardSearch> search_;
    std::vector<std::pair<int, std::unique_ptr<CardSearch>>> replicated_;  // by replicas, when met
    std::uint64_t pod_key_ = 0;
    int prefer_ = -1;  // NVML index of a card that comes before all others
    NodeId own_node_ = kNoNode;
    std::uint32_t own_pod_ = 0;
    int steps_ = kTotalSteps;
    bool by_links_ = false;  // reserve only: whether and how well it fits is the same for any cards
    std::deque<Misfit> misfits_;         // few: texts name no node
    std::vector<std::int8_t> model_ok_;  // by StringId: 0 not asked yet, 1 yes, -1 no
    // quick answers
    bool quick_ = false;               // no memory caps, no init containers
    bool one_ = false;                 // container
    std::vector<Demand> quick_order_;  // as the planner takes them
    int largest_share_ = 0;            // percent
    int largest_whole_ = 0;            // cards
    int total_ = 0;                    // percent
    // For one container, by the number of empty cards; a share's is the first.
    std::array<std::optional<Verdict>, NodeSummary::kMaxCards + 1> alone_;
    std::array<std::int8_t, NodeSummary::kMaxCards + 1> emptied_{};  // by healthy cards, as above
    // scratch
    std::vector<CardView> views_;
    CardChoice choice_;
    std::vector<CardUse> use_;
};

}  // namespace egpu::core
