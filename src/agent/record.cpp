#include "agent/record.h"

#include <algorithm>
#include <set>

#include "core/card.h"

namespace egpu::agent {
namespace {

// Lower first: containers that run at the same time, then unknown ones, then init containers; small
// sets first, so that a set that contains others is measured against all of them.
int rank(const Record& record) {
    if (!record.holder.kind) return 1;
    return *record.holder.kind == core::ContainerKind::kInit ? 2 : 0;
}

}  // namespace

bool Record::whole() const {
    if (resource == Resource::kWhole) {
        return cards.empty() || cards.front().percent == core::kCardUnits;  // else a replica
    }
    return ids.size() >= static_cast<std::size_t>(core::kCardUnits);
}

bool Record::overridden() const {
    const auto named = count_by_card(resource, ids);
    if (named.size() != cards.size()) return true;
    return !std::all_of(named.begin(), named.end(), [&](const auto& n) {
        return on_card(n.first);
    });
}

bool Record::on_card(std::string_view uuid) const {
    return std::any_of(cards.begin(), cards.end(), [&](const core::CardShare& c) {
        return c.uuid == uuid;
    });
}

int units_held(std::span<const Record* const> records) {
    const auto weight = [](const Record& r) {
        if (r.whole()) return core::kCardUnits;
        if (r.resource == Resource::kWhole) return r.cards.front().percent;
        return static_cast<int>(r.ids.size());
    };
    if (records.size() == 1) return weight(*records.front());

    std::vector<const Record*> order(records.begin(), records.end());
    std::stable_sort(order.begin(), order.end(), [](const Record* a, const Record* b) {
        if (rank(*a) != rank(*b)) return rank(*a) < rank(*b);
        return a->ids.size() < b->ids.size();
    });
    std::set<std::string_view> covered;
    int units = 0;
    for (const Record* record : order) {
        int shared = 0;
        for (const std::string& id : record->ids) {
            if (!covered.insert(id).second) ++shared;
        }
        if (record->resource == Resource::kWhole) shared *= weight(*record);
        units += rank(*record) == 0 ? weight(*record) : std::max(0, weight(*record) - shared);
    }
    return units;
}

}  // namespace egpu::agent
