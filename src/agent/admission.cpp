// The decisions of NodeLedger: which IDs the kubelet should take, and which cards a container
// really gets.
#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "agent/node_ledger.h"
#include "base/check.h"
#include "core/topology.h"

namespace egpu::agent {
namespace {

using Groups = std::map<std::string_view, std::vector<const Record*>>;

Groups groups_on(const std::vector<Record>& records, std::string_view card) {
    Groups groups;
    for (const Record& record : records) {
        if (record.on_card(card)) groups[record.group].push_back(&record);
    }
    return groups;
}

// Units held by others, and by the probe's own pod with the probe added.
std::pair<int, int> units_with(const Groups& groups, const Record& probe) {
    int others = 0;
    std::vector<const Record*> own{&probe};
    for (const auto& [group, records] : groups) {
        if (group == probe.group) {
            own.insert(own.end(), records.begin(), records.end());
        } else {
            others += units_held(records);
        }
    }
    return {others, units_held(own)};
}

std::vector<core::CardShare> shares_on(
    const std::vector<std::string>& uuids,
    const std::vector<core::Card>& cards,
    int percent,
    const std::vector<core::CardShare>& plan
) {
    std::vector<core::CardShare> shares;
    for (const std::string& uuid : uuids) {
        core::CardShare share{uuid, 0, percent, 0};
        for (const core::Card& card : cards) {
            if (card.uuid == uuid) share.index = card.index;
        }
        // An explicit memory cap belongs to the container, wherever it lands.
        if (!plan.empty()) share.memory_mib = plan.front().memory_mib;
        shares.push_back(std::move(share));
    }
    std::sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) {
        return std::tie(a.index, a.uuid) < std::tie(b.index, b.uuid);
    });
    return shares;
}

// For a record whose cards are still to be chosen: how much of each.
std::vector<core::CardShare> undecided(const NodeLedger::Size& size) {
    return {static_cast<std::size_t>(size.cards), core::CardShare{"", 0, size.percent, 0}};
}

void append_uuids(std::vector<std::string>& out, const std::vector<core::CardShare>& cards) {
    for (const core::CardShare& card : cards) out.push_back(card.uuid);
}

}  // namespace

std::vector<std::string> NodeLedger::choose(
    const Record& probe, const Size& size, std::span<const std::string> wishes
) const {
    struct Fit {
        int rest = 0;  // units free afterwards; the least first
        const core::Card* card = nullptr;
    };
    std::vector<Fit> fits;
    for (const core::Card& c : cards_) {
        if (!c.healthy || provisional_ || c.uuid.empty()) continue;
        const auto [others, own] = units_with(groups_on(records_, c.uuid), probe);
        if (size.whole ? others > 0 || own > core::kCardUnits : others + own > core::kCardUnits) {
            continue;
        }
        fits.push_back({core::kCardUnits - others - own, &c});
    }
    if (probe.resource == Resource::kWhole && !size.whole && distribute_) {
        for (Fit& fit : fits) fit.rest = -fit.rest;
    }
    std::stable_sort(fits.begin(), fits.end(), [](const Fit& a, const Fit& b) {
        return std::tie(a.rest, a.card->index) < std::tie(b.rest, b.card->index);
    });

    std::vector<int> chosen;  // positions in fits
    const auto take = [&](int fit) {
        if (static_cast<int>(chosen.size()) < size.cards &&
            std::find(chosen.begin(), chosen.end(), fit) == chosen.end()) {
            chosen.push_back(fit);
        }
    };
    for (const std::string& wish : wishes) {
        for (int fit = 0; fit < static_cast<int>(fits.size()); ++fit) {
            if (fits[fit].card->uuid == wish) take(fit);
        }
    }
    // Whole cards: those that are close to each other and to what is chosen already.
    if (size.whole && static_cast<int>(chosen.size()) < size.cards) {
        std::vector<core::Card> free;
        free.reserve(fits.size());
        for (const Fit& fit : fits) free.push_back(*fit.card);
        for (const int fit : core::closest_cards(free, size.cards, chosen)) take(fit);
    }
    for (int fit = 0; fit < static_cast<int>(fits.size()); ++fit) take(fit);
    std::vector<std::string> uuids;
    if (static_cast<int>(chosen.size()) < size.cards) return uuids;
    for (const int fit : chosen) uuids.push_back(fits[fit].card->uuid);
    return uuids;
}

Error NodeLedger::refusal(const Record& probe, const Size& size) const {
    const std::string name(resource_name(probe.resource));
    if (cards_.empty()) return {ErrorCode::kExhausted, name + ": this node has no GPU"};
    if (provisional_) {
        return {
            ErrorCode::kUnavailable,
            name +
                ": the NVIDIA driver has not answered since the agent started; nothing can be "
                "placed yet"};
    }
    int healthy = 0;
    int free_cards = 0;
    int most_free = 0;
    int most_free_index = 0;
    for (const core::Card& c : cards_) {
        if (!c.healthy) continue;
        ++healthy;
        int held = 0;
        for (const auto& [group, records] : groups_on(records_, c.uuid))
            held += units_held(records);
        if (held == 0) ++free_cards;
        if (core::kCardUnits - held > most_free) {
            most_free = core::kCardUnits - held;
            most_free_index = c.index;
        }
    }
    std::string text = name + ": ";
    if (size.whole) {
        text += std::to_string(size.cards) +
                (size.cards == 1 ? " free card is" : " free cards are") + " needed, " +
                std::to_string(free_cards) + " of " + std::to_string(cards_.size()) +
                (free_cards == 1 ? " is" : " are") + " free";
    } else {
        text += size.cards == 1 ? "no card has "
                                : std::to_string(size.cards) + " cards are needed with ";
        text += std::to_string(size.percent) + " percent free";
        if (most_free > 0) {
            text += " (the most is " + std::to_string(most_free) + " percent, on card " +
                    std::to_string(most_free_index) + ")";
        }
    }
    const int sick = static_cast<int>(cards_.size()) - healthy;
    if (sick > 0)
        text +=
            "; " + std::to_string(sick) + (sick == 1 ? " card is" : " cards are") + " unhealthy";
    return {ErrorCode::kExhausted, text};
}

const Record* NodeLedger::reused(Resource resource, std::span<const std::string> ids) const {
    const Record* newest = nullptr;
    for (const Record* record : overlapping(resource, ids)) {
        const auto kind = record->holder.kind;
        if (!kind || *kind == core::ContainerKind::kInit) newest = record;
    }
    return newest;
}

std::vector<std::string> NodeLedger::pick_ids(
    Resource resource,
    std::span<const std::string> available,
    std::span<const std::string> must_include,
    std::size_t size,
    std::span<const std::string> cards
) const {
    std::set<std::string_view> held;
    for (const Record& record : records_) {
        if (record.resource == resource) held.insert(record.ids.begin(), record.ids.end());
    }
    const std::set<std::string_view> must(must_include.begin(), must_include.end());
    // IDs of the chosen cards first, and among them those that no record holds: the kubelet may
    // believe an ID free that a live container has.
    struct Option {
        std::size_t card = 0;
        bool held = false;
        int unit = 0;
        const std::string* id = nullptr;
    };
    std::vector<Option> options;
    options.reserve(available.size());
    for (const std::string& id : available) {
        if (must.contains(id)) continue;
        const std::string_view uuid = card_of(resource, id);
        std::size_t rank = 0;
        while (rank < cards.size() && cards[rank] != uuid) ++rank;
        options.push_back({rank, held.contains(id), unit_of(id), &id});
    }
    std::sort(options.begin(), options.end(), [](const Option& a, const Option& b) {
        return std::tie(a.card, a.held, a.unit, *a.id) < std::tie(b.card, b.held, b.unit, *b.id);
    });
    std::vector<std::string> ids(must_include.begin(), must_include.end());
    // Each of several cards gives its part; then whatever comes first.
    std::vector<std::size_t> given(cards.size() + 1);
    for (const std::string& id : ids) {
        for (std::size_t rank = 0; rank < cards.size(); ++rank) {
            if (cards[rank] == card_of(resource, id)) ++given[rank];
        }
    }
    const std::size_t part = cards.empty() ? 0 : size / cards.size();
    for (const bool beyond : {false, true}) {
        for (Option& option : options) {
            if (ids.size() >= size) break;
            if (option.id == nullptr) continue;
            if (!beyond && (option.card == cards.size() || given[option.card] >= part)) continue;
            ++given[option.card];
            ids.push_back(*std::exchange(option.id, nullptr));
        }
    }
    return ids;
}

std::vector<std::string> NodeLedger::prefer(
    Resource resource,
    std::span<const std::string> available,
    std::span<const std::string> must_include,
    int size,
    std::span<const Candidate> candidates
) {
    Pending pending;
    const std::vector<std::string> offered = as_id_set(available);
    pending.must_include = as_id_set(must_include);
    std::set_difference(
        offered.begin(),
        offered.end(),
        pending.must_include.begin(),
        pending.must_include.end(),
        std::back_inserter(pending.available)
    );
    pending.size = static_cast<std::size_t>(std::max(size, 0));

    std::vector<std::string> cards;
    if (const auto wanted = size_of(resource, pending.size, replicas())) {
        const Record* source = reused(resource, pending.must_include);
        // IDs of an init container name the pod: nobody else can be asking.
        std::vector<Candidate> possible(candidates.begin(), candidates.end());
        if (source != nullptr && !source->holder.pod_uid.empty()) {
            std::erase_if(possible, [&](const Candidate& c) {
                return c.holder.pod_uid != source->holder.pod_uid;
            });
        }
        Record probe;
        probe.resource = resource;
        probe.cards = undecided(*wanted);
        probe.ids = pending.must_include;
        for (std::size_t i = probe.ids.size(); i < pending.size; ++i) {
            probe.ids.push_back("?" + std::to_string(i));  // new to everybody
        }
        const auto try_candidate = [&](const Candidate* candidate) {
            probe.group = candidate != nullptr ? candidate->holder.pod_uid : "?";
            probe.holder = candidate != nullptr ? candidate->holder : Holder{};
            std::vector<std::string> wishes;
            if (source != nullptr) {
                probe.group = source->group;
                append_uuids(wishes, source->cards);
            }
            if (candidate != nullptr) append_uuids(wishes, candidate->cards);
            for (const auto& named : count_by_card(resource, pending.must_include)) {
                wishes.push_back(named.first);
            }
            cards = choose(probe, *wanted, wishes);
            if (candidate == nullptr) return true;
            return !cards.empty() &&
                   std::all_of(
                       candidate->cards.begin(),
                       candidate->cards.end(),
                       [&](const auto& c) {
                           return std::find(cards.begin(), cards.end(), c.uuid) != cards.end();
                       }
                   );
        };
        // The first candidate whose plan can be kept; else the most likely one, wherever it fits.
        for (const Candidate& candidate : possible) {
            if (candidate.cards.empty() || !try_candidate(&candidate)) continue;
            pending.candidate = candidate;
            break;
        }
        if (!pending.candidate) {
            if (!possible.empty()) pending.candidate = possible.front();
            try_candidate(possible.empty() ? nullptr : &possible.front());
        }
    }
    std::vector<std::string> ids =
        pick_ids(resource, offered, pending.must_include, pending.size, cards);
    pending_[resource] = std::move(pending);
    return ids;
}

std::optional<NodeLedger::Pending> NodeLedger::take_pending(
    Resource resource, const std::vector<std::string>& ids
) {
    const auto found = pending_.find(resource);
    if (found == pending_.end()) return std::nullopt;
    Pending pending = std::move(found->second);
    pending_.erase(found);
    if (pending.size != ids.size()) return std::nullopt;
    const bool ours = std::all_of(ids.begin(), ids.end(), [&](const std::string& id) {
        return std::binary_search(pending.available.begin(), pending.available.end(), id) ||
               std::binary_search(pending.must_include.begin(), pending.must_include.end(), id);
    });
    if (!ours) return std::nullopt;
    return pending;
}

// Whose record it will be, as far as that can be known now, and the plan of that container.
void NodeLedger::name_holder(
    Record& record,
    const std::optional<Pending>& pending,
    const Record* source,
    std::span<const Candidate> pod_containers,
    std::vector<core::CardShare>& plan
) const {
    record.group = record.token;
    if (pending && pending->candidate) {
        record.holder = pending->candidate->holder;
        record.group = record.holder.pod_uid;
        plan = pending->candidate->cards;
    }
    if (source == nullptr) return;
    if (record.group == source->group) return;
    record.group = source->group;
    record.holder = {};
    record.holder.pod_uid = source->holder.pod_uid;
    record.holder.pod_namespace = source->holder.pod_namespace;
    record.holder.pod_name = source->holder.pod_name;
    plan.clear();
    for (const Candidate& candidate : pod_containers) {
        if (candidate.holder.pod_uid.empty() || candidate.holder.pod_uid != source->holder.pod_uid)
            continue;
        if (has_record(candidate.holder.pod_uid, candidate.holder.container, record.resource))
            continue;
        record.holder = candidate.holder;
        plan = candidate.cards;
        return;
    }
}

Result<Record> NodeLedger::admit(
    Resource resource,
    std::span<const std::string> asked,
    std::string token,
    std::int64_t now,
    std::span<const Candidate> pod_containers
) {
    EG_CHECK(!token.empty() && find(token) == nullptr);
    Record record;
    record.token = std::move(token);
    record.resource = resource;
    record.ids = as_id_set(asked);
    record.time = now;
    const std::optional<Pending> pending = take_pending(resource, record.ids);
    EG_TRY(const Size size, size_of(resource, record.ids.size(), replicas()));
    record.cards = undecided(size);
    for (const std::string& id : record.ids) {
        if (card(card_of(resource, id)) == nullptr) {
            return Error{
                ErrorCode::kInvalid,
                std::string(resource_name(resource)) + ": device " + id +
                    " is not of a card of this node"};
        }
    }
    // IDs the kubelet did not offer as free are those of an init container of the same pod.
    std::vector<std::string> taken = record.ids;
    if (pending) {
        std::erase_if(taken, [&](const std::string& id) {
            return std::binary_search(pending->available.begin(), pending->available.end(), id);
        });
    }
    const Record* source = reused(resource, taken);
    std::vector<core::CardShare> plan;
    name_holder(record, pending, source, pod_containers, plan);

    std::vector<std::string> wishes;
    if (source != nullptr) append_uuids(wishes, source->cards);
    const auto named = count_by_card(resource, record.ids);
    if (static_cast<int>(named.size()) == size.cards) {
        for (const auto& [uuid, count] : named) wishes.push_back(uuid);
    }
    append_uuids(wishes, plan);
    for (const auto& [uuid, count] : named) wishes.push_back(uuid);
    const std::vector<std::string> cards = choose(record, size, wishes);
    if (cards.empty()) return refusal(record, size);
    record.cards = shares_on(cards, cards_, size.percent, plan);
    records_.push_back(record);
    return record;
}

}  // namespace egpu::agent
