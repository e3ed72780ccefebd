// How a Fleet gets a new Outlook.
#include <algorithm>

#include "core/policy/card_choice.h"
#include "core/policy/fleet.h"
#include "core/policy/fleet_state.h"

namespace egpu::core {
namespace {

// The demand is looked at again each time the arrivals have doubled, and with forgetting at least
// twice per half-life.
std::uint64_t next_redraw(std::uint64_t arrivals, double half_life) {
    std::uint64_t next = 1;
    while (next <= arrivals) next *= 2;
    if (half_life > 0) {
        const auto step = static_cast<std::uint64_t>(std::max(1.0, half_life / 2));
        next = std::min(next, arrivals + step);
    }
    return next;
}

}  // namespace

bool Fleet::refresh_due() const {
    const State& s = *state_;
    if (scorer_->potential == Potential::kNone) return false;
    if (s.known.empty() && s.demand.shapes() == 0) return false;
    if (s.arrivals >= s.next_redraw) return true;
    return scorer_->potential == Potential::kExpectedFill && s.arrivals >= s.next_prices;
}

std::unique_ptr<Refresh> Fleet::prepare(bool warm) const {
    const State& s = *state_;
    auto work = std::make_unique<Refresh::Work>();
    work->redraw = s.arrivals >= s.next_redraw || (!s.outlook.fragmentation && !s.outlook.futures);
    work->warm = warm;
    work->arrivals = s.arrivals;
    work->potential = scorer_->potential;
    work->options = s.options;
    work->demand = s.known.empty() ? s.demand.weights() : s.known;
    work->cards = scorer_->cards;
    work->outlook = s.outlook;
    for (const FleetSlot& slot : s.slots) {
        if (slot.nodes > 0) work->rooms.push_back({slot.room, slot.nodes});
    }
    if (warm && work->redraw) {
        for (const auto& [shape, table] : s.tables) work->shapes.push_back(shape);
    } else if (warm) {
        for (const ValueId id : s.memo.asked()) work->asked.emplace_back(id, s.memo.room(id));
    }
    return std::unique_ptr<Refresh>(new Refresh(std::move(work)));
}

void Fleet::install(Refresh&& refresh) {
    State& s = *state_;
    Refresh::Work& work = *refresh.work_;
    if (!work.outlook_done) work.make_outlook();
    s.outlook = std::move(work.outlook);
    ++s.version;
    s.next_prices = work.arrivals + static_cast<std::uint64_t>(s.options.price_period);
    if (!work.redraw) {
        s.memo.forget_prices();
        for (std::size_t i = 0; i < work.prices.size(); ++i) {
            const auto& [id, room] = work.asked[i];
            // The memo may have been cleared meanwhile.
            if (id < s.memo.size() && s.memo.room(id) == room) s.memo.set_price(id, work.prices[i]);
        }
        return;
    }
    // Once the demand is known beforehand there is nothing to look at again.
    s.next_redraw =
        s.known.empty() ? next_redraw(work.arrivals, s.options.half_life) : ~std::uint64_t{0};
    s.memo = std::move(work.memo);
    for (FleetSlot& slot : s.slots) {
        slot.stamp = s.next_stamp++;  // entries hold ids of the old memo
        slot.value = s.memo.find(slot.room);
    }
}

void Fleet::refresh_if_due() {
    if (refresh_due()) install(std::move(*prepare()));
}

Refresh::Refresh(std::unique_ptr<Work> work) : work_(std::move(work)) {}
Refresh::~Refresh() = default;

bool Refresh::step(int values) {
    return work_->step(values);
}

void Refresh::Work::make_outlook() {
    outlook_done = true;
    if (potential == Potential::kFragmentation) {
        outlook.fragmentation = std::make_shared<const Fragmentation>(demand);
        return;
    }
    outlook.scarcity = std::make_shared<const Scarcity>(demand, rooms, options.scarcity);
    if (!redraw) return;
    FutureOptions with_seed = options.futures;
    with_seed.seed = options.seed;
    outlook.futures = std::make_shared<const Futures>(demand, with_seed);
}

bool Refresh::Work::step(int values) {
    if (!outlook_done) make_outlook();
    if (!warm) return true;
    if (!redraw) {
        for (; values > 0 && prices.size() < asked.size(); --values) {
            prices.push_back(
                outlook.scarcity ? outlook.scarcity->value(asked[prices.size()].second) : 0
            );
        }
        return prices.size() == asked.size();
    }
    const std::size_t all = rooms.size() * std::max<std::size_t>(shapes.size(), 1);
    for (; values > 0 && next < all; ++next) {
        const Room& room = rooms[next % rooms.size()].room;
        memo.value(memo.find(room), outlook);
        --values;
        if (shapes.empty()) continue;
        const Shape& shape = shapes[next / rooms.size()];
        const CardOptions options_here = card_options(room, shape, cards);
        for (int i = 0; i < options_here.count; ++i) {
            memo.value(memo.find(room_after(room, shape, options_here.card[i])), outlook);
            --values;
        }
    }
    return next >= all;
}

}  // namespace egpu::core
