// Inspection: snapshots for /status and the CLI, and the promises that must hold.
#include "core/ledger_info.h"

#include <algorithm>

#include "core/card.h"
#include "core/card_use.h"
#include "core/ledger.h"
#include "core/resolve.h"

namespace egpu::core {
namespace {

std::string_view ns_of(const PodRecord& pod) {
    return std::string_view(pod.key).substr(0, pod.key.find('/'));
}

std::string_view name_of(const PodRecord& pod) {
    return std::string_view(pod.key).substr(pod.key.find('/') + 1);
}

bool is_unplaced(const NodeUsage& usage, PodSlot slot) {
    return std::any_of(usage.unplaced.begin(), usage.unplaced.end(), [&](const UnplacedUse& u) {
        return u.pod == slot;
    });
}

bool same_usage(const NodeUsage& a, const NodeUsage& b) {
    const auto same = [](const auto& x, const auto& y, auto&& equal) {
        return std::equal(x.begin(), x.end(), y.begin(), y.end(), equal);
    };
    return same(
               a.cards,
               b.cards,
               [](const CardUsage& x, const CardUsage& y) {
                   return x.percent == y.percent && x.whole == y.whole &&
                          x.memory_mib == y.memory_mib;
               }
           ) &&
           same(
               a.pods,
               b.pods,
               [](const PodUse& x, const PodUse& y) {
                   return x.pod == y.pod && x.card == y.card && x.percent == y.percent &&
                          x.whole == y.whole && x.memory_mib == y.memory_mib;
               }
           ) &&
           same(a.holds, b.holds, [](const ContainerHold& x, const ContainerHold& y) {
               return x.pod == y.pod && x.container == y.container && x.card == y.card;
           });
}

}  // namespace

Placement Ledger::accounted_placement(PodSlot slot) const {
    const PodRecord& pod = pods_[slot];
    const NodeRecord& node = nodes_[pod.node];
    Placement placement;
    for (const ContainerHold& hold : node.usage.holds) {
        if (hold.pod != slot) continue;
        const Demand& demand = pod.demands[hold.container];
        const std::string_view name = strings_.text(demand.name);
        auto& containers = placement.containers;
        if (containers.empty() || containers.back().container != name) {
            containers.push_back({std::string(name), {}});
        }
        const CardRecord& card = node.cards[hold.card];
        containers.back().cards.push_back(
            {std::string(strings_.text(card.uuid)), card.index, demand.percent, demand.memory_mib}
        );
    }
    return placement;
}

std::string Ledger::unplaced_reason(const NodeRecord& node, const PodRecord& record) const {
    CardChoice choice;
    const Resolution found = resolve(node.cards, record, choice);
    std::string container;
    if (found.container < record.demands.size()) {
        container = "container " + std::string(strings_.text(record.demands[found.container].name));
    }
    switch (found.problem) {
        case ResolveProblem::kNoPlacement:
            return "the pod has no placement";
        case ResolveProblem::kContainerMissing:
            return container + " is missing in the placement";
        case ResolveProblem::kWrongCount:
            return container + " is placed on another number of cards than it asks for";
        case ResolveProblem::kCardTwice:
            return container + " is placed on one card twice";
        case ResolveProblem::kNoCard: {
            const std::string_view uuid = strings_.text(found.card->uuid);
            return container + " is placed on card " +
                   (uuid.empty() ? std::to_string(found.card->index) : std::string(uuid)) +
                   ", which is not on this node";
        }
        case ResolveProblem::kNone:
            break;
    }
    return "its card is taken by other pods";
}

NodeInfo Ledger::info_of(const NodeRecord& node) const {
    NodeInfo info;
    info.name = node.name;
    info.known = node.known;
    info.synthetic = node.synthetic;
    info.percent_units = node.percent_units;
    info.whole_units = node.whole_units;
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        const CardRecord& record = node.cards[i];
        CardInfo card;
        card.card.uuid = strings_.text(record.uuid);
        card.card.model = strings_.text(record.model);
        card.card.index = record.index;
        card.card.numa = record.numa;
        card.card.memory_mib = record.memory_mib;
        card.card.healthy = record.healthy;
        card.card.replicas = node.replicas;
        card.used_percent = node.usage.cards[i].percent;
        card.used_memory_mib = node.usage.cards[i].memory_mib;
        card.whole = node.usage.cards[i].whole;
        info.cards.push_back(std::move(card));
    }
    for (const ContainerHold& hold : node.usage.holds) {
        const PodRecord& pod = pods_[hold.pod];
        const Demand& demand = pod.demands[hold.container];
        HolderInfo holder;
        holder.uid = pod.uid;
        holder.ns = ns_of(pod);
        holder.pod = name_of(pod);
        holder.container = strings_.text(demand.name);
        holder.percent = demand.percent;
        holder.memory_mib = memory_on(demand, node.cards[hold.card].memory_mib);
        holder.whole = demand.whole;
        holder.reserved = pod.reserved;
        holder.guessed = is_unplaced(node.usage, hold.pod);
        info.cards[hold.card].holders.push_back(std::move(holder));
    }
    for (const UnplacedUse& use : node.usage.unplaced) {
        const PodRecord& pod = pods_[use.pod];
        info.unplaced.push_back(
            {pod.uid,
             std::string(ns_of(pod)),
             std::string(name_of(pod)),
             unplaced_reason(node, pod),
             use.missing_percent}
        );
    }
    return info;
}

std::vector<std::string> Ledger::node_names() const {
    std::vector<std::string> names;
    for (const NodeRecord& node : nodes_) {
        if (node.used) names.push_back(node.name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::optional<NodeInfo> Ledger::node(std::string_view name) const {
    const auto id = find_node(name);
    if (!id) return std::nullopt;
    return info_of(nodes_[*id]);
}

std::vector<NodeInfo> Ledger::nodes() const {
    std::vector<NodeInfo> infos;
    for (const NodeRecord& node : nodes_) {
        if (node.used) infos.push_back(info_of(node));
    }
    std::sort(infos.begin(), infos.end(), [](const NodeInfo& a, const NodeInfo& b) {
        return a.name < b.name;
    });
    return infos;
}

std::vector<ReservationInfo> Ledger::reservations() const {
    std::vector<ReservationInfo> infos;
    for (const PodSlot slot : reserved_) {
        const PodRecord& pod = pods_[slot];
        infos.push_back(
            {pod.uid,
             std::string(ns_of(pod)),
             std::string(name_of(pod)),
             nodes_[pod.node].name,
             pod.expires}
        );
    }
    std::sort(infos.begin(), infos.end(), [](const ReservationInfo& a, const ReservationInfo& b) {
        return a.uid < b.uid;
    });
    return infos;
}

std::optional<PodInfo> Ledger::pod(std::string_view uid) const {
    const PodSlot slot = find_pod(uid);
    if (slot == FlatIndex::kNone) return std::nullopt;
    const PodRecord& pod = pods_[slot];
    const NodeRecord& node = nodes_[pod.node];
    const auto uses = [&](bool whole) {
        return std::any_of(pod.demands.begin(), pod.demands.end(), [&](const Demand& demand) {
            return (demand.nvidia || demand.replica) == whole;
        });
    };
    return PodInfo{
        pod.uid,
        std::string(ns_of(pod)),
        std::string(name_of(pod)),
        node.name,
        pod.reserved,
        is_unplaced(node.usage, slot),
        uses(false),
        uses(true),
        accounted_placement(slot)};
}

LedgerTotals Ledger::totals() const {
    LedgerTotals totals;
    totals.nodes = known_nodes_;
    totals.pods = pod_count();
    totals.reservations = reservation_count();
    for (const NodeRecord& node : nodes_) {
        totals.cards += node.cards.size();
        totals.unplaced_pods += node.usage.unplaced.size();
        for (std::size_t i = 0; i < node.cards.size(); ++i) {
            const int used = node.usage.cards[i].percent;
            totals.healthy_cards += node.cards[i].healthy;
            totals.empty_cards += node.cards[i].healthy && used == 0;
            totals.used_percent += used;
            totals.cards_over_memory += node.cards[i].memory_mib > 0 &&
                                        node.usage.cards[i].memory_mib > node.cards[i].memory_mib;
        }
    }
    return totals;
}

void Ledger::check_node(NodeId id, std::vector<std::string>& broken) const {
    const NodeRecord& node = nodes_[id];
    const auto say = [&](const std::string& what) {
        broken.push_back("node " + node.name + ": " + what);
    };
    if (find_node(node.name) != std::optional<NodeId>(id)) say("is not in the index");
    if (!node.known && node.pods.empty()) say("is kept without reason");
    std::vector<CardUsage> sums(node.cards.size());
    std::vector<std::vector<PodSlot>> whole(node.cards.size());
    std::vector<std::vector<PodSlot>> holders(node.cards.size());
    int held = 0;
    for (const PodUse& use : node.usage.pods) {
        sums[use.card].percent += use.percent;
        sums[use.card].memory_mib += use.memory_mib;
        held += use.percent;
        holders[use.card].push_back(use.pod);
        if (use.whole) whole[use.card].push_back(use.pod);
    }
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        const CardUsage& card = node.usage.cards[i];
        const std::string name = "card " + std::to_string(node.cards[i].index) + " ";
        if (card.percent < 0 || card.percent > kCardUnits) {
            say(name + "is used to " + std::to_string(card.percent) + " percent");
        }
        if (sums[i].percent != card.percent || sums[i].memory_mib != card.memory_mib) {
            say(name + "is not used as its pods say");
        }
        if (!whole[i].empty() && holders[i].size() > 1) say(name + "is taken whole and shared");
    }
    int asked = 0;
    for (const PodSlot slot : node.pods) {
        const PodRecord& pod = pods_[slot];
        if (pod.node != id) say("lists pod " + pod.key + ", which is elsewhere");
        if (find_pod(pod.uid) != slot) say("pod " + pod.key + " is not in the index");
        asked += total_units(pod.demands);
    }
    int missing = 0;
    for (const UnplacedUse& use : node.usage.unplaced) missing += use.missing_percent;
    // A pod can hold more than the kubelet counts when its phases use different cards, never less.
    if (held + missing < asked) {
        say("holds " + std::to_string(held) + " percent for pods that ask for " +
            std::to_string(asked));
    }
    if (!same_usage(node.usage, compute_usage(node, {}))) say("was not recomputed");
}

std::vector<std::string> Ledger::check_invariants() const {
    std::vector<std::string> broken;
    std::size_t pods = 0;
    std::size_t known = 0;
    for (NodeId id = 0; id < nodes_.size(); ++id) {
        if (!nodes_[id].used) continue;
        pods += nodes_[id].pods.size();
        known += nodes_[id].known;
        check_node(id, broken);
    }
    if (pods != pod_index_.size()) broken.push_back("pods are indexed that no node has");
    if (known != known_nodes_) broken.push_back("the number of nodes is wrong");
    for (const PodSlot slot : reserved_) {
        if (!pods_[slot].reserved) broken.push_back("a reservation is listed that is none");
    }
    return broken;
}

}  // namespace egpu::core
