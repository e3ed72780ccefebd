#include "agent/take_over.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "agent/allocator.h"
#include "base/log.h"

namespace egpu::agent {
namespace {

bool same_cards(const std::vector<core::CardShare>& shares, const std::vector<std::string>& uuids) {
    return shares.size() == uuids.size() &&
           std::all_of(shares.begin(), shares.end(), [&](const core::CardShare& s) {
               return std::find(uuids.begin(), uuids.end(), s.uuid) != uuids.end();
           });
}

// What the answer named is what the container has, whatever an old state file says.
bool correct(NodeLedger& ledger, const Record& record, const BookEntry& entry) {
    if (entry.token != record.token || entry.given.size() != record.cards.size()) return false;
    if (same_cards(record.cards, entry.given)) return false;
    std::vector<core::CardShare> cards = record.cards;
    for (std::size_t i = 0; i < cards.size(); ++i) {
        cards[i].uuid = entry.given[i];
        for (const core::Card& card : ledger.cards()) {
            if (card.uuid == cards[i].uuid) cards[i].index = card.index;
        }
    }
    log::warn(
        "the cards of a record were corrected by the kubelet's checkpoint",
        {{"token", record.token}}
    );
    return ledger.correct_cards(entry.token, std::move(cards));
}

bool overlaps_any(
    const NodeLedger& ledger, const BookEntry& entry, std::span<const BookEntry> entries
) {
    if (!ledger.overlapping(entry.resource, entry.ids).empty()) return true;
    const std::set<std::string_view> ids(entry.ids.begin(), entry.ids.end());
    return std::any_of(entries.begin(), entries.end(), [&](const BookEntry& other) {
        return &other != &entry && other.alive == BookEntry::Alive::kYes &&
               other.resource == entry.resource &&
               std::any_of(other.ids.begin(), other.ids.end(), [&](const auto& id) {
                   return ids.contains(id);
               });
    });
}

}  // namespace

bool take_over(
    NodeLedger& ledger, std::span<const BookEntry> entries, const PodsView& view, bool adopt_unclear
) {
    bool changed = false;
    const std::vector<Record> before = ledger.records();
    const std::vector<const BookEntry*> matches = match_records(before, entries);
    std::set<const BookEntry*> used;
    for (std::size_t i = 0; i < before.size(); ++i) {
        const BookEntry* entry = matches[i];
        if (entry == nullptr) continue;
        used.insert(entry);
        changed = ledger.confirm(before[i].token, entry->holder) || changed;
        changed = correct(ledger, before[i], *entry) || changed;
    }
    const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                                 std::chrono::system_clock::now().time_since_epoch()
    )
                                 .count();
    const auto recorded = [&](const BookEntry& entry) {
        return std::any_of(before.begin(), before.end(), [&](const Record& r) {
            return r.resource == entry.resource && r.ids == entry.ids;
        });
    };
    for (const BookEntry& entry : entries) {
        if (used.contains(&entry) || entry.alive == BookEntry::Alive::kNo) continue;
        if (entry.token.empty() && recorded(entry)) continue;
        if (!entry.token.empty() && ledger.find(entry.token) != nullptr) continue;
        if (entry.alive == BookEntry::Alive::kUnclear &&
            (!adopt_unclear || overlaps_any(ledger, entry, entries))) {
            continue;
        }
        auto record = adopted_record(entry, view, ledger.cards(), new_token(), now);
        if (!record) {
            log::warn(
                "a container of the kubelet's books has cards that are not known here",
                {{"pod", entry.holder.pod_name}, {"container", entry.holder.container}}
            );
            continue;
        }
        log::info(
            "taken over from the kubelet's books",
            {{"pod", entry.holder.pod_name},
             {"container", entry.holder.container},
             {"token", record->token}}
        );
        changed = ledger.restore(std::move(*record)) || changed;
    }
    return changed;
}

}  // namespace egpu::agent
