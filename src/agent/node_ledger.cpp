#include "agent/node_ledger.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"

namespace egpu::agent {

void NodeLedger::set_cards(std::vector<core::Card> cards, bool provisional) {
    cards_ = std::move(cards);
    provisional_ = provisional;
    // Indexes move when cards come and go; UUIDs are what counts.
    for (Record& record : records_) {
        for (core::CardShare& share : record.cards) {
            if (const core::Card* known = card(share.uuid)) share.index = known->index;
        }
    }
}

const core::Card* NodeLedger::card(std::string_view uuid) const {
    const auto found = std::find_if(cards_.begin(), cards_.end(), [&](const core::Card& c) {
        return c.uuid == uuid;
    });
    return found == cards_.end() ? nullptr : &*found;
}

bool NodeLedger::restore(Record record) {
    if (record.token.empty() || find(record.token) != nullptr) return false;
    record.ids = as_id_set(record.ids);
    if (record.group.empty()) {
        record.group = record.holder.pod_uid.empty() ? record.token : record.holder.pod_uid;
    }
    records_.push_back(std::move(record));
    return true;
}

bool NodeLedger::confirm(std::string_view token, const Holder& holder) {
    const auto found = std::find_if(records_.begin(), records_.end(), [&](const Record& r) {
        return r.token == token;
    });
    if (found == records_.end()) return false;
    // What is not said stays, as long as it is about the same pod and container.
    const Holder& old = found->holder;
    Holder next = holder;
    if (next.pod_uid.empty()) next.pod_uid = old.pod_uid;
    const bool same_pod = old.pod_uid.empty() || next.pod_uid == old.pod_uid;
    if (next.pod_name.empty() && same_pod) {
        next.pod_namespace = old.pod_namespace;
        next.pod_name = old.pod_name;
    }
    const bool same_container = old.container.empty() || next.container == old.container;
    if (!next.kind && same_pod && same_container) next.kind = old.kind;
    if (next == found->holder) return false;

    const std::string before = found->group;
    const bool was_unknown = found->holder.pod_uid.empty();
    found->holder = next;
    if (next.pod_uid.empty() || before == next.pod_uid) return true;
    found->group = next.pod_uid;
    if (!was_unknown) return true;
    // The whole chain of re-use belongs to the pod that was just named.
    for (Record& other : records_) {
        if (other.group != before) continue;
        other.group = next.pod_uid;
        if (other.holder.pod_uid.empty()) {
            other.holder.pod_uid = next.pod_uid;
            other.holder.pod_namespace = next.pod_namespace;
            other.holder.pod_name = next.pod_name;
        }
    }
    return true;
}

bool NodeLedger::correct_cards(std::string_view token, std::vector<core::CardShare> cards) {
    for (Record& record : records_) {
        if (record.token != token) continue;
        if (record.cards == cards) return false;
        record.cards = std::move(cards);
        return true;
    }
    return false;
}

bool NodeLedger::set_guarded(std::string_view token) {
    for (Record& record : records_) {
        if (record.token == token) return !std::exchange(record.guarded, true);
    }
    return false;
}

bool NodeLedger::release(std::string_view token) {
    return std::erase_if(records_, [&](const Record& r) { return r.token == token; }) > 0;
}

const Record* NodeLedger::find(std::string_view token) const {
    const auto found = std::find_if(records_.begin(), records_.end(), [&](const Record& r) {
        return r.token == token;
    });
    return found == records_.end() ? nullptr : &*found;
}

std::vector<const Record*> NodeLedger::with_ids(Resource resource, std::span<const std::string> ids)
    const {
    const std::vector<std::string> set = as_id_set(ids);
    std::vector<const Record*> found;
    for (auto r = records_.rbegin(); r != records_.rend(); ++r) {
        if (r->resource == resource && r->ids == set) found.push_back(&*r);
    }
    return found;
}

std::vector<const Record*> NodeLedger::overlapping(
    Resource resource, std::span<const std::string> ids
) const {
    const std::set<std::string_view> wanted(ids.begin(), ids.end());
    std::vector<const Record*> found;
    for (const Record& record : records_) {
        if (record.resource != resource) continue;
        const bool overlaps =
            std::any_of(record.ids.begin(), record.ids.end(), [&](const std::string& id) {
                return wanted.contains(id);
            });
        if (overlaps) found.push_back(&record);
    }
    return found;
}

bool NodeLedger::has_record(std::string_view pod_uid, std::string_view container, Resource resource)
    const {
    return std::any_of(records_.begin(), records_.end(), [&](const Record& r) {
        return r.resource == resource && r.holder.pod_uid == pod_uid &&
               r.holder.container == container;
    });
}

bool NodeLedger::set_ended(std::set<std::string, std::less<>> pod_uids) {
    if (ended_ == pod_uids) return false;
    ended_ = std::move(pod_uids);
    return true;
}

std::vector<DeviceState> NodeLedger::devices(Resource resource) const {
    std::set<std::string_view> held;
    for (const Record& record : records_) {
        if (record.resource == resource) held.insert(record.ids.begin(), record.ids.end());
    }
    const int count = resource == Resource::kPercent ? core::kCardUnits : replicas();
    std::vector<DeviceState> devices;
    for (const core::Card& c : cards_) {
        if (c.uuid.empty()) continue;
        std::vector<std::string> ids;
        ids.reserve(static_cast<std::size_t>(count));
        for (int unit = 0; unit < count; ++unit) {
            ids.push_back(count == 1 ? c.uuid : unit_id(c.uuid, unit));
        }
        int room = count;
        if (const int elsewhere = used_through_other(resource, c.uuid); elsewhere > 0) {
            room = (core::kCardUnits - elsewhere) / (core::kCardUnits / count);
            for (const std::string& id : ids) room -= held.contains(id) ? 1 : 0;
        }
        if (!c.healthy || provisional_) room = 0;
        for (std::string& id : ids) {
            const bool healthy = held.contains(id) ? c.healthy : room-- > 0;
            devices.push_back({std::move(id), healthy, c.numa});
        }
    }
    return devices;
}

int NodeLedger::used_through_other(Resource resource, std::string_view card) const {
    std::map<std::string_view, std::vector<const Record*>> groups;
    for (const Record& record : records_) {
        if (record.resource == resource || !record.on_card(card)) continue;
        if (!ended_.contains(record.holder.pod_uid)) groups[record.group].push_back(&record);
    }
    int percent = 0;
    for (const auto& [group, records] : groups) percent += units_held(records);
    return percent;
}

std::vector<CardUse> NodeLedger::usage() const {
    std::vector<CardUse> uses;
    for (const core::Card& c : cards_) {
        CardUse use{c, 0, false, 0};
        std::map<std::string_view, std::vector<const Record*>> groups;
        for (const Record& record : records_) {
            if (!record.on_card(c.uuid)) continue;
            groups[record.group].push_back(&record);
            use.whole = use.whole || record.whole();
            ++use.holders;
        }
        for (const auto& [group, records] : groups) use.percent += units_held(records);
        uses.push_back(std::move(use));
    }
    return uses;
}

std::vector<std::string> NodeLedger::violations() const {
    std::vector<std::string> found;
    for (const CardUse& use : usage()) {
        if (use.percent > core::kCardUnits) {
            found.push_back(
                "card " + std::to_string(use.card.index) + " (" + use.card.uuid + ") carries " +
                std::to_string(use.percent) + " percent"
            );
        }
    }
    std::set<std::string_view> tokens;
    for (const Record& record : records_) {
        if (!tokens.insert(record.token).second) found.push_back("token twice: " + record.token);
        if (record.cards.empty() || record.ids.empty()) {
            found.push_back("record without cards or IDs: " + record.token);
        }
    }
    return found;
}

Result<NodeLedger::Size> NodeLedger::size_of(Resource resource, std::size_t ids, int replicas) {
    const int count = static_cast<int>(ids);
    if (count < 1) {
        return Error{ErrorCode::kInvalid, std::string(resource_name(resource)) + ": no device IDs"};
    }
    if (resource == Resource::kWhole) {
        return Size{core::kCardUnits / replicas, count, replicas == 1};
    }
    if (count < core::kCardUnits) return Size{count, 1, false};
    if (count % core::kCardUnits == 0) {
        return Size{core::kCardUnits, count / core::kCardUnits, true};
    }
    return Error{
        ErrorCode::kInvalid,
        std::string(core::kResourcePercent) + " " + std::to_string(count) +
            " is neither 1..100 nor a multiple of 100"};
}

}  // namespace egpu::agent
