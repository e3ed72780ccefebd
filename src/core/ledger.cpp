#include "core/ledger.h"

#include <algorithm>

#include "base/check.h"
#include "core/resolve.h"
#include "core/topology.h"

namespace egpu::core {
namespace {

std::string key_of(const PodIdentity& id) {
    return id.ns + "/" + id.name;
}

std::int64_t synthetic_cards(const NodeInventory& inventory) {
    const std::int64_t cards =
        std::max(inventory.percent_units / kCardUnits, inventory.whole_units);
    return std::clamp<std::int64_t>(cards, 0, kMaxNodeCards);
}

}  // namespace

Ledger::Ledger(LedgerOptions options)
    : options_(std::move(options)), policy_(find_policy(options_.policy)) {
    EG_CHECK(policy_ != nullptr);
}

// --- nodes ---

std::optional<NodeId> Ledger::find_node(std::string_view name) const {
    const NodeId id = node_index_.find(FlatIndex::hash(name), [&](NodeId slot) {
        return names_[slot].is(name) || (names_[slot].view().empty() && nodes_[slot].name == name);
    });
    if (id == FlatIndex::kNone) return std::nullopt;
    return id;
}

NodeId Ledger::node_slot(std::string_view name) {
    if (const auto found = find_node(name)) return *found;
    NodeId id = 0;
    if (free_nodes_.empty()) {
        id = static_cast<NodeId>(nodes_.size());
        nodes_.emplace_back();
        summaries_.emplace_back();
        names_.emplace_back();
        versions_.emplace_back();
    } else {
        id = free_nodes_.back();
        free_nodes_.pop_back();
    }
    nodes_[id].name = name;
    names_[id].assign(name);
    nodes_[id].key = stable_key(name);
    nodes_[id].used = true;
    ++names_version_;
    node_index_.insert(FlatIndex::hash(name), id);
    return id;
}

void Ledger::drop_node_if_unused(NodeId id) {
    NodeRecord& node = nodes_[id];
    if (node.known || !node.pods.empty()) return;
    node_index_.erase(FlatIndex::hash(node.name), id);
    node = {};
    names_[id] = {};
    summaries_[id] = {};
    touch(id);
    ++names_version_;
    free_nodes_.push_back(id);
}

bool Ledger::set_cards(NodeRecord& node, const NodeInventory& inventory) {
    std::vector<CardRecord> cards;
    std::vector<Card> linked;
    const auto taken = [&](const Card& card) {
        return std::any_of(cards.begin(), cards.end(), [&](const CardRecord& other) {
            return other.index == card.index ||
                   (!card.uuid.empty() && strings_.text(other.uuid) == card.uuid);
        });
    };
    for (const Card& card : inventory.cards) {
        if (cards.size() == kMaxNodeCards) break;
        if (taken(card)) continue;
        CardRecord record;
        record.uuid = strings_.acquire(card.uuid);
        record.model = strings_.acquire(card.model);
        record.index = card.index;
        record.numa = card.numa;
        record.memory_mib = std::clamp<std::int64_t>(card.memory_mib, 0, kMaxMemoryMib);
        record.healthy = card.healthy;
        cards.push_back(record);
        linked.push_back(card);
    }
    std::vector<Link> links = link_matrix(linked);
    const bool synthetic = cards.empty();
    const int replicas =
        synthetic ? 1 : std::clamp(inventory.cards.front().replicas, 1, kCardUnits);
    bool changed = synthetic != node.synthetic || replicas != node.replicas || links != node.links;
    node.links = std::move(links);
    node.synthetic = synthetic;
    node.replicas = replicas;
    for (const PodSlot slot : node.pods) adapt_to_replicas(pods_[slot].demands, node.replicas);
    if (node.synthetic) {
        for (int i = 0; i < synthetic_cards(inventory); ++i) {
            cards.push_back({});
            cards.back().index = i;
        }
    }
    cards.shrink_to_fit();
    node.cards.swap(cards);
    changed |= cards != node.cards;
    for (const CardRecord& old : cards) {
        strings_.release(old.uuid);
        strings_.release(old.model);
    }
    return changed;
}

void Ledger::upsert_node(std::string_view name, const NodeInventory& inventory) {
    const NodeId id = node_slot(name);
    NodeRecord& node = nodes_[id];
    const HostAmounts host = options_.count_host ? inventory.host : node.host;
    bool changed = !node.known || node.percent_units != inventory.percent_units ||
                   node.whole_units != inventory.whole_units || !(node.host == host);
    if (!node.known) ++known_nodes_;
    node.known = true;
    node.percent_units = inventory.percent_units;
    node.whole_units = inventory.whole_units;
    node.host = host;
    changed |= set_cards(node, inventory);
    // Most news are of other things (conditions, images), and all answers about it stay right.
    if (changed) recompute(id);
}

bool Ledger::remove_node(std::string_view name) {
    const auto id = find_node(name);
    if (!id || !nodes_[*id].known) return false;
    NodeRecord& node = nodes_[*id];
    node.known = false;
    node.percent_units = node.whole_units = 0;
    node.host = {kHostUnlimited, kHostUnlimited};
    set_cards(node, {});
    node.synthetic = false;
    --known_nodes_;
    recompute(*id);
    drop_node_if_unused(*id);
    return true;
}

// --- pods ---

PodSlot Ledger::find_pod(std::string_view uid) const {
    return pod_index_.find(FlatIndex::hash(uid), [&](PodSlot slot) {
        return pods_[slot].uid == uid;
    });
}

PodRecord Ledger::make_record(
    const PodIdentity& id,
    NodeId node,
    const PodRequest& request,
    const std::optional<Placement>& placement
) {
    PodRecord record;
    record.uid = id.uid;
    record.key = key_of(id);
    record.node = node;
    record.demands = demands_of(request);
    adapt_to_replicas(record.demands, nodes_[node].replicas);
    for (std::size_t i = 0; i < record.demands.size(); ++i) {
        record.demands[i].name = strings_.acquire(request.containers[i].name);
    }
    record.has_placement = placement.has_value();
    if (!placement) return record;
    for (std::size_t i = 0; i < record.demands.size(); ++i) {
        for (const ContainerPlacement& placed : placement->containers) {
            if (placed.container != request.containers[i].name) continue;
            // One more than asked for is enough to know that it is wrong.
            const std::size_t enough = static_cast<std::size_t>(record.demands[i].cards) + 1;
            for (std::size_t n = 0; n < std::min(placed.cards.size(), enough); ++n) {
                const CardShare& share = placed.cards[n];
                record.placed.push_back(
                    {static_cast<std::uint16_t>(i), share.index, strings_.acquire(share.uuid)}
                );
            }
            break;
        }
    }
    record.placed.shrink_to_fit();
    return record;
}

void Ledger::release_strings(PodRecord& record) {
    for (const Demand& demand : record.demands) strings_.release(demand.name);
    for (const PlacedCard& placed : record.placed) strings_.release(placed.uuid);
}

PodSlot Ledger::insert_pod(PodRecord record) {
    PodSlot slot = 0;
    if (free_pods_.empty()) {
        slot = static_cast<PodSlot>(pods_.size());
        pods_.emplace_back();
    } else {
        slot = free_pods_.back();
        free_pods_.pop_back();
    }
    if (record.reserved) reserved_.push_back(slot);
    pods_[slot] = std::move(record);
    const PodRecord& pod = pods_[slot];
    pod_index_.insert(FlatIndex::hash(pod.uid), slot);
    std::vector<PodSlot>& list = nodes_[pod.node].pods;
    const auto at = std::lower_bound(list.begin(), list.end(), slot, [&](PodSlot a, PodSlot b) {
        return pods_[a].uid < pods_[b].uid;
    });
    list.insert(at, slot);
    recompute(pod.node);
    return slot;
}

void Ledger::erase_pod(PodSlot slot) {
    PodRecord& pod = pods_[slot];
    const NodeId node = pod.node;
    remove_host(pod.uid);
    std::erase(nodes_[node].pods, slot);
    pod_index_.erase(FlatIndex::hash(pod.uid), slot);
    if (pod.reserved) forget_reservation(slot);
    release_strings(pod);
    pod = {};
    free_pods_.push_back(slot);
    recompute(node);
    drop_node_if_unused(node);
}

void Ledger::forget_reservation(PodSlot slot) {
    std::erase(reserved_, slot);
    pods_[slot].reserved = false;
    pods_[slot].expires = {};
}

void Ledger::upsert_pod(const BoundPod& pod) {
    if (pod.id.uid.empty() || pod.node.empty()) return;
    const PodSlot slot = find_pod(pod.id.uid);
    if (pod.request.empty()) {
        if (slot != FlatIndex::kNone) erase_pod(slot);
        put_host(pod.id.uid, pod.node, pod.request.host);
        return;
    }
    const NodeId node = node_slot(pod.node);
    PodRecord record = make_record(pod.id, node, pod.request, pod.placement);
    if (slot != FlatIndex::kNone) {
        PodRecord& old = pods_[slot];
        const bool same = old.node == node && old.has_placement == record.has_placement &&
                          old.demands == record.demands && old.placed == record.placed;
        if (same) {  // nothing moves: most updates, and every reservation that becomes its pod
            if (old.reserved) forget_reservation(slot);
            old.key = std::move(record.key);
            release_strings(record);
            put_host(pod.id.uid, pod.node, pod.request.host);
            return;
        }
        // Keeps the node alive while its only pod is replaced.
        const bool known = std::exchange(nodes_[node].known, true);
        erase_pod(slot);
        nodes_[node].known = known;
    }
    insert_pod(std::move(record));
    put_host(pod.id.uid, pod.node, pod.request.host);
}

bool Ledger::remove_pod(std::string_view uid) {
    const PodSlot slot = find_pod(uid);
    if (slot == FlatIndex::kNone) {
        remove_host(uid);
        return false;
    }
    erase_pod(slot);
    return true;
}

// --- reservations ---

Placement Ledger::recorded_placement(const PodRecord& record) const {
    Placement placement;
    for (std::size_t i = 0; i < record.demands.size(); ++i) {
        const Demand& demand = record.demands[i];
        ContainerPlacement container{std::string(strings_.text(demand.name)), {}};
        for (const PlacedCard& placed : record.placed) {
            if (placed.container != i) continue;
            container.cards.push_back(
                {std::string(strings_.text(placed.uuid)),
                 placed.index,
                 demand.percent,
                 demand.memory_mib}
            );
        }
        placement.containers.push_back(std::move(container));
    }
    return placement;
}

Result<Placement> Ledger::reserve(
    const PodIdentity& pod,
    std::string_view node,
    const PodRequest& request,
    TimePoint now,
    Duration ttl,
    std::optional<int> card
) {
    if (pod.uid.empty()) return Error{ErrorCode::kInvalid, "the pod has no UID"};
    if (request.empty()) return Placement{};
    PodSlot slot = find_pod(pod.uid);
    if (slot != FlatIndex::kNone && pods_[slot].reserved && pods_[slot].expires <= now) {
        erase_pod(slot);
        slot = FlatIndex::kNone;
    }
    if (slot != FlatIndex::kNone) {
        PodRecord& old = pods_[slot];
        if (nodes_[old.node].name != node) {
            return Error{
                ErrorCode::kConflict,
                "pod " + old.key + " is " + (old.reserved ? "being bound" : "bound") + " to node " +
                    nodes_[old.node].name};
        }
        if (old.reserved) old.expires = std::max(old.expires, now + ttl);
        return old.has_placement ? recorded_placement(old) : accounted_placement(slot);
    }
    const auto id = find_node(node);
    if (!id || !nodes_[*id].known) {
        return Error{ErrorCode::kNotFound, "node " + std::string(node) + " is not known"};
    }
    Query asked = query(request, pod.uid);
    asked.prefer_ = card.value_or(-1);
    asked.by_links_ = true;
    const Verdict verdict = plan_on(nodes_[*id], nodes_[*id].usage, asked);
    if (!verdict.fits) return Error{ErrorCode::kExhausted, std::string(verdict.reason)};
    const Placement placement = placement_from_choice(
        nodes_[*id].cards,
        request,
        asked.search_on(nodes_[*id].replicas).demands(),
        asked.choice_,
        strings_
    );
    PodRecord record = make_record(pod, *id, request, placement);
    record.reserved = true;
    record.expires = now + ttl;
    insert_pod(std::move(record));
    put_host(pod.uid, node, request.host);
    return placement;
}

bool Ledger::extend(std::string_view uid, TimePoint now, Duration ttl) {
    const PodSlot slot = find_pod(uid);
    if (slot == FlatIndex::kNone || !pods_[slot].reserved) return false;
    pods_[slot].expires = std::max(pods_[slot].expires, now + ttl);
    return true;
}

bool Ledger::release_reservation(std::string_view uid) {
    const PodSlot slot = find_pod(uid);
    if (slot == FlatIndex::kNone || !pods_[slot].reserved) return false;
    erase_pod(slot);
    return true;
}

std::size_t Ledger::expire(TimePoint now) {
    std::vector<PodSlot> due;
    for (const PodSlot slot : reserved_) {
        if (pods_[slot].expires <= now) due.push_back(slot);
    }
    for (const PodSlot slot : due) erase_pod(slot);
    return due.size();
}

}  // namespace egpu::core
