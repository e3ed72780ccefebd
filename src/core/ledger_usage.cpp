// From a node's records to what is held of its cards: a pure function, run on each change.
#include <algorithm>

#include "core/card.h"
#include "core/card_search.h"
#include "core/card_use.h"
#include "core/ledger.h"
#include "core/resolve.h"

namespace egpu::core {
namespace {

// Builds a NodeUsage pod by pod.
class Accounting {
  public:
    explicit Accounting(const NodeRecord& node) : node_(node) {
        usage_.cards.resize(node.cards.size());
        fill_views(node.cards, usage_.cards, true, blank_);
    }

    // Where its placement says, if that resolves and there is room. Memory is not a reason to doubt
    // a placement: the pod runs there.
    bool take_placed(PodSlot slot, const PodRecord& record) {
        if (resolve(node_.cards, record, choice_).problem != ResolveProblem::kNone) return false;
        card_use(blank_, record.demands, choice_, uses_);
        const bool room = std::all_of(uses_.begin(), uses_.end(), [&](const CardUse& use) {
            return use.percent <= kCardUnits - usage_.cards[use.card].percent;
        });
        if (room) hold(slot, record);
        return room;
    }

    // Best-fit: on healthy cards, else on any.
    bool take_guessed(PodSlot slot, const PodRecord& record) {
        CardSearch search(record.demands);
        for (const bool unhealthy_too : {false, true}) {
            fill_views(node_.cards, usage_.cards, unhealthy_too, views_, node_.links);
            int steps = kPlanSteps;
            const auto status = search.plan(views_, default_policy(), {}, steps, choice_);
            if (status != PlanStatus::kFits) continue;
            card_use(blank_, record.demands, choice_, uses_);
            hold(slot, record);
            usage_.unplaced.push_back({slot, 0});
            return true;
        }
        return false;
    }

    // No card can take it as asked, but the kubelet gave it device IDs: they are missing somewhere.
    void spread(PodSlot slot, const PodRecord& record) {
        int missing = total_units(record.demands);
        while (missing > 0) {
            const auto most = std::min_element(
                usage_.cards.begin(),
                usage_.cards.end(),
                [](const CardUsage& a, const CardUsage& b) { return a.percent < b.percent; }
            );
            if (most == usage_.cards.end() || most->percent >= kCardUnits) break;
            const int card = static_cast<int>(most - usage_.cards.begin());
            const int part = std::min(missing, kCardUnits - most->percent);
            const std::int64_t all = node_.cards[card].memory_mib;
            const std::int64_t memory =
                std::clamp<std::int64_t>(all - most->memory_mib, 0, all * part / kCardUnits);
            apply(slot, {card, part, memory, false});
            missing -= part;
        }
        usage_.unplaced.push_back({slot, missing});
    }

    NodeUsage finish() {
        usage_.pods.shrink_to_fit();
        usage_.holds.shrink_to_fit();
        return std::move(usage_);
    }

  private:
    void apply(PodSlot slot, const CardUse& use) {
        CardUsage& card = usage_.cards[use.card];
        card.percent += use.percent;
        card.memory_mib += use.memory_mib;
        card.whole |= use.whole;
        usage_.pods.push_back(
            {slot,
             static_cast<std::uint16_t>(use.card),
             static_cast<std::uint8_t>(use.percent),
             use.whole,
             use.memory_mib}
        );
    }

    void hold(PodSlot slot, const PodRecord& record) {
        for (const CardUse& use : uses_) apply(slot, use);
        std::size_t next = 0;
        for (std::size_t i = 0; i < record.demands.size(); ++i) {
            for (int n = 0; n < record.demands[i].cards; ++n) {
                usage_.holds.push_back(
                    {slot,
                     static_cast<std::uint16_t>(i),
                     static_cast<std::uint16_t>(choice_[next++])}
                );
            }
        }
    }

    const NodeRecord& node_;
    NodeUsage usage_;
    std::vector<CardView> blank_;  // for sizes only
    std::vector<CardView> views_;
    CardChoice choice_;
    std::vector<CardUse> uses_;
};

}  // namespace

NodeUsage Ledger::compute_usage(const NodeRecord& node, std::span<const PodSlot> without) const {
    Accounting accounting(node);
    std::vector<PodSlot> unplaced;
    for (const PodSlot slot : node.pods) {  // in UID order
        if (std::find(without.begin(), without.end(), slot) != without.end()) continue;
        if (!accounting.take_placed(slot, pods_[slot])) unplaced.push_back(slot);
    }
    std::vector<PodSlot> homeless;
    for (const PodSlot slot : unplaced) {
        if (!accounting.take_guessed(slot, pods_[slot])) homeless.push_back(slot);
    }
    for (const PodSlot slot : homeless) accounting.spread(slot, pods_[slot]);
    return accounting.finish();
}

NodeSummary Ledger::compute_summary(const NodeRecord& node) const {
    NodeSummary summary;
    summary.key = node.key;
    if (!node.known || node.cards.empty()) return summary;
    summary.quick = node.cards.size() <= NodeSummary::kMaxCards && node.replicas == 1;
    summary.cards = static_cast<std::uint16_t>(node.cards.size());
    summary.model = node.cards[0].model;
    summary.memory_mib = node.cards[0].memory_mib;
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        const CardRecord& card = node.cards[i];
        const CardUsage& usage = node.usage.cards[i];
        summary.used += usage.percent;
        summary.quick &= card.model == summary.model && card.memory_mib == summary.memory_mib;
        summary.quick &= card.memory_mib == 0 ||
                         usage.memory_mib * kCardUnits <= usage.percent * card.memory_mib;
        if (!card.healthy) continue;
        ++summary.healthy;
        const auto free = static_cast<std::uint8_t>(kCardUnits - usage.percent);
        if (free == kCardUnits) ++summary.empty;
        summary.max_free = std::max(summary.max_free, free);
        if (i >= NodeSummary::kMaxCards) continue;
        summary.free[i] = free;
        summary.levels[free / 64] |= std::uint64_t{1} << (free % 64);
    }
    return summary;
}

void Ledger::recompute(NodeId id) {
    nodes_[id].usage = compute_usage(nodes_[id], {});
    summaries_[id] = compute_summary(nodes_[id]);
    touch(id);
}

HostAmounts Ledger::host_free(NodeId id) const {
    const NodeRecord& node = nodes_[id];
    HostAmounts left = node.host;
    const HostAmounts used = host_use_.on(node.name);
    if (left.cpu_milli != kHostUnlimited) left.cpu_milli -= used.cpu_milli;
    if (left.memory_mib != kHostUnlimited) left.memory_mib -= used.memory_mib;
    return left;
}

void Ledger::put_host(std::string_view uid, std::string_view node, HostAmounts amounts) {
    if (!options_.count_host) return;
    if (const std::string_view before = host_use_.node_of(uid); before != node) remove_host(uid);
    host_use_.put(uid, node, amounts);
    if (const auto id = find_node(node)) touch(*id);
}

void Ledger::remove_host(std::string_view uid) {
    const std::string_view node = host_use_.node_of(uid);
    if (node.empty()) return;
    if (const auto id = find_node(node)) touch(*id);
    host_use_.remove(uid);
}

}  // namespace egpu::core
