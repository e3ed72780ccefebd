// Questions: filter, priorities, preempt.
#include "core/ledger_query.h"

#include <algorithm>
#include <limits>

#include "core/card.h"
#include "core/card_search.h"
#include "core/card_use.h"
#include "core/ledger.h"
#include "core/model.h"
#include "core/resolve.h"

namespace egpu::core {

namespace {

// The card that somebody has chosen, else as binpack.
std::int64_t preferring_rank(const CardOption& option, const PolicyContext& context) {
    if (option.index == context.prefer) return std::numeric_limits<std::int64_t>::min();
    return default_policy().card_rank(option, context);
}

const Policy kPreferring{"", "", CardOrder::kRanked, default_policy().node_score, preferring_rank};

}  // namespace

Verdict Query::refuse(Misfit misfit) {
    auto it = std::find(misfits_.begin(), misfits_.end(), misfit);
    if (it == misfits_.end()) it = misfits_.insert(it, std::move(misfit));
    return {false, it->permanent, it->text};
}

Query::Query(const PodRequest& request, const Policy& policy)
    : request_(request),
      policy_(&policy),
      search_(std::make_unique<CardSearch>(demands_of(request))) {
    prepare_quick();
}

CardSearch& Query::search_on(int replicas) {
    if (replicas <= 1) return *search_;
    for (auto& [number, search] : replicated_) {
        if (number == replicas) return *search;
    }
    std::vector<Demand> demands = search_->demands();
    adapt_to_replicas(demands, replicas);
    replicated_.emplace_back(replicas, std::make_unique<CardSearch>(std::move(demands)));
    return *replicated_.back().second;
}

Query Ledger::query(const PodRequest& request, std::string_view uid) const {
    const Policy* policy = request.policy.empty() ? policy_ : find_policy(request.policy);
    // The other policies plan as binpack does, and score by the room that this leaves.
    Query query(request, policy == nullptr ? default_policy() : *policy);
    query.pod_key_ = stable_key(uid);
    if (uid.empty()) return query;
    const PodSlot slot = find_pod(uid);
    if (slot != FlatIndex::kNone) {
        query.own_node_ = pods_[slot].node;
        query.own_pod_ = slot;
    }
    return query;
}

bool Ledger::acceptable(Query& query, StringId model) const {
    if (query.request_.models.empty()) return true;
    if (query.model_ok_.size() <= model) query.model_ok_.resize(model + 1);
    std::int8_t& known = query.model_ok_[model];
    if (known == 0) {
        known = model_acceptable(query.request_.models, strings_.text(model)) ? 1 : -1;
    }
    return known > 0;
}

Verdict Ledger::plan_on(const NodeRecord& node, const NodeUsage& usage, Query& query) const {
    if (!node.known) return query.refuse({"the node is not known to the GPU scheduler", true});
    if (query.demands().empty()) {
        query.choice_.clear();
        return {true, false, {}};
    }
    const std::span<const Link> links =
        query.by_links_ ? std::span(node.links) : std::span<const Link>();
    fill_views(node.cards, usage.cards, false, query.views_, links);
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        query.views_[i].usable &= acceptable(query, node.cards[i].model);
    }
    CardSearch& search = query.search_on(node.replicas);
    const PolicyContext context{options_.seed, query.pod_key_, node.key, query.prefer_};
    const Policy& policy = query.prefer_ >= 0 ? kPreferring : *query.policy_;
    const auto budgeted = [&](auto&& work) {
        const int budget = std::clamp(query.steps_, 0, kPlanSteps);
        int steps = budget;
        auto result = work(steps);
        query.steps_ -= std::min(query.steps_, budget - steps);
        return result;
    };
    const PlanStatus status = budgeted([&](int& steps) {
        return search.plan(query.views_, policy, context, steps, query.choice_);
    });
    if (status == PlanStatus::kFits) return {true, false, {}};
    return query.refuse(budgeted([&](int& steps) {
        return explain_misfit(query.views_, search, query.request_.models, steps);
    }));
}

Verdict Ledger::fits(NodeId id, Query& query) const {
    const NodeSummary& summary = summaries_[id];
    if (id == query.own_node_) {
        const NodeRecord& node = nodes_[id];
        return plan_on(node, compute_usage(node, {&query.own_pod_, 1}), query);
    }
    if (query.quick_ && summary.quick && acceptable(query, summary.model)) {
        if (query.one_) {
            if (query.quick_fits_alone(summary)) return {true, false, {}};
            if (const Verdict* known = query.known_refusal(summary)) return *known;
        } else {
            NodeChange change;
            if (query.quick_plan(summary, change)) return {true, false, {}};
        }
        if (const auto refusal = query.quick_refusal(summary)) return *refusal;
    }
    return plan_on(nodes_[id], nodes_[id].usage, query);
}

Verdict Ledger::fits(std::string_view name, Query& query) const {
    if (const auto id = find_node(name)) return fits(*id, query);
    return plan_on({}, {}, query);
}

int Ledger::score_plan(const NodeRecord& node, Query& query) const {
    const std::vector<Demand>& demands = query.search_on(node.replicas).demands();
    card_use(query.views_, demands, query.choice_, query.use_);
    const PolicyContext context{options_.seed, query.pod_key_, node.key};
    return query.policy_->node_score(node_change(query.views_, query.use_), context);
}

int Ledger::score(NodeId id, Query& query) const {
    const NodeSummary& summary = summaries_[id];
    const NodeRecord& node = nodes_[id];
    const bool own = id == query.own_node_;
    if (query.quick_ && summary.quick && !own && query.policy_->order != CardOrder::kRanked &&
        acceptable(query, summary.model)) {
        NodeChange change;
        if (query.one_ && !query.quick_fits_alone(summary)) return 0;
        if (query.quick_plan(summary, change)) {
            return query.policy_->node_score(change, {options_.seed, query.pod_key_, summary.key});
        }
        if (query.quick_refusal(summary)) return 0;
    }
    const Verdict verdict = own ? plan_on(node, compute_usage(node, {&query.own_pod_, 1}), query)
                                : plan_on(node, node.usage, query);
    if (!verdict.fits || query.demands().empty()) return 0;
    return score_plan(node, query);
}

int Ledger::score(std::string_view name, Query& query) const {
    const auto id = find_node(name);
    return id ? score(*id, query) : 0;
}

Verdict Ledger::fits_without(
    std::string_view name, Query& query, std::span<const std::string_view> victims
) const {
    const auto id = find_node(name);
    if (!id) return plan_on({}, {}, query);
    std::vector<PodSlot> without;
    for (const std::string_view uid : victims) {
        const PodSlot slot = find_pod(uid);
        if (slot != FlatIndex::kNone && pods_[slot].node == *id) without.push_back(slot);
    }
    if (query.own_node_ == *id) without.push_back(query.own_pod_);
    return plan_on(nodes_[*id], compute_usage(nodes_[*id], without), query);
}

}  // namespace egpu::core
