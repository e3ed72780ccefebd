#include "core/policy/fleet.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "core/policy/card_choice.h"
#include "core/policy/fleet_state.h"

namespace egpu::core {
namespace {

std::uint64_t card_hash(const PolicyContext& context) {
    std::uint64_t state = context.seed ^ (context.pod_key * 0x9E3779B97F4A7C15ULL) ^
                          (context.node_key * 0xD1B54A32D192ED03ULL);
    return splitmix64(state);
}

}  // namespace

std::size_t RoomHash::operator()(const Room& room) const {
    std::uint64_t words[2];
    std::memcpy(words, room.free.data(), sizeof words);
    std::uint64_t state =
        (static_cast<std::uint64_t>(static_cast<std::uint32_t>(room.cpu_milli)) << 32) ^
        static_cast<std::uint32_t>(room.memory_mib);
    state = splitmix64(state) ^ words[0];
    state = splitmix64(state) ^ words[1];
    state ^= (static_cast<std::uint64_t>(room.model) << 16) ^
             (static_cast<std::uint64_t>(room.cards) << 8) ^ room.kinds;
    return splitmix64(state);
}

// --- slots and entries ---

std::uint32_t Fleet::State::slot_for(const Room& room) {
    Room key = sorted_room(room);
    if (!scorer->looks_at_kinds) key.kinds = 0;
    const auto [it, added] = slot_index.try_emplace(key, 0);
    if (!added) return it->second;
    if (free_slots.empty()) {
        free_slots.push_back(static_cast<std::uint32_t>(slots.size()));
        slots.emplace_back();
    }
    it->second = free_slots.back();
    free_slots.pop_back();
    FleetSlot& slot = slots[it->second];
    slot.room = key;
    slot.nodes = 0;
    slot.stamp = next_stamp++;
    slot.value = scorer->potential == Potential::kNone ? 0 : memo.find(key);
    return it->second;
}

void Fleet::State::leave_slot(std::uint32_t index) {
    FleetSlot& slot = slots[index];
    if (--slot.nodes > 0) return;
    slot_index.erase(slot.room);
    free_slots.push_back(index);
}

std::vector<FleetEntry>& Fleet::State::table(const Shape& shape) {
    if (tables.size() >= options.max_shapes && tables.find(shape) == tables.end()) tables.clear();
    std::vector<FleetEntry>& table = tables[shape];
    if (table.size() < slots.size()) table.resize(slots.size());
    return table;
}

double Fleet::State::potential_score(double before, double after) const {
    if (scorer->potential == Potential::kFragmentation) return fragmentation_score(-before, -after);
    return after - before;
}

double Fleet::State::step_score(
    const Room& before, const Room& after, const Shape& shape, const PolicyContext& context
) {
    if (scorer->potential == Potential::kNone)
        return scorer->score({before, after, shape, context});
    // One after the other: find() may move the values.
    const ValueId from = memo.find(before);
    const ValueId to = memo.find(after);
    return potential_score(memo.value(from, outlook), memo.value(to, outlook));
}

const FleetEntry& Fleet::State::entry(
    std::vector<FleetEntry>& table, std::uint32_t index, const Shape& shape
) {
    FleetEntry& entry = table[index];
    const FleetSlot& slot = slots[index];
    if (entry.stamp == slot.stamp && entry.version == version) return entry;
    const bool kept = entry.stamp == slot.stamp && entry.afters <= FleetEntry::kAfters;
    entry.version = version;
    if (kept && (!entry.fits || scorer->potential == Potential::kNone)) return entry;
    if (kept) {
        const double before = memo.value(slot.value, outlook);
        entry.score = -std::numeric_limits<double>::infinity();
        for (int i = 0; i < entry.afters; ++i) {
            const double score = potential_score(before, memo.value(entry.after[i], outlook));
            entry.score = std::max(entry.score, score);
        }
        return entry;
    }
    entry.stamp = slot.stamp;
    const CardOptions options_here = card_options(slot.room, shape, scorer->cards);
    entry.fits = options_here.count > 0;
    entry.afters = static_cast<std::uint8_t>(options_here.count);
    entry.score = -std::numeric_limits<double>::infinity();
    for (int i = 0; i < options_here.count; ++i) {
        const Room after = room_after(slot.room, shape, options_here.card[i]);
        double score = 0;
        if (scorer->potential == Potential::kNone) {
            score = scorer->score({slot.room, after, shape, {}});
        } else {
            const ValueId id = memo.find(after);
            if (i < FleetEntry::kAfters) entry.after[i] = id;
            score = potential_score(memo.value(slot.value, outlook), memo.value(id, outlook));
        }
        entry.score = std::max(entry.score, score);
    }
    return entry;
}

void Fleet::State::bound_memory() {
    if (memo.size() <= options.max_values) return;
    memo.clear();
    for (FleetSlot& slot : slots) {
        slot.stamp = next_stamp++;  // entries hold ids
        slot.value = memo.find(slot.room);
    }
}

// --- the cluster ---

Fleet::Fleet(const Scorer& scorer, const FleetOptions& options)
    : scorer_(&scorer), state_(std::make_unique<State>(scorer, options)) {}
Fleet::~Fleet() = default;
Fleet::Fleet(Fleet&&) noexcept = default;
Fleet& Fleet::operator=(Fleet&&) noexcept = default;

void Fleet::set_room(FleetNode node, const Room& room) {
    State& s = *state_;
    EG_CHECK(room.cards <= kRoomCards && room.model < kMaxModels);
    if (node >= s.rooms.size()) {
        s.rooms.resize(node + 1);
        s.slots_of.resize(node + 1, State::kNoSlot);
    }
    const std::uint32_t old = s.slots_of[node];
    if (old != State::kNoSlot && s.rooms[node] == room) return;
    s.rooms[node] = room;
    const std::uint32_t slot = s.slot_for(room);
    ++s.slots[slot].nodes;
    s.slots_of[node] = slot;
    if (old != State::kNoSlot) s.leave_slot(old);
    s.bound_memory();
}

void Fleet::remove_node(FleetNode node) {
    State& s = *state_;
    if (node >= s.slots_of.size() || s.slots_of[node] == State::kNoSlot) return;
    s.leave_slot(s.slots_of[node]);
    s.slots_of[node] = State::kNoSlot;
}

const Room* Fleet::room(FleetNode node) const {
    const State& s = *state_;
    if (node >= s.slots_of.size() || s.slots_of[node] == State::kNoSlot) return nullptr;
    return &s.rooms[node];
}

void Fleet::arrived(const Shape& shape) {
    ++state_->arrivals;
    if (state_->known.empty() && scorer_->potential != Potential::kNone) {
        state_->demand.arrived(shape);
    }
}

void Fleet::know_demand(std::span<const ShapeWeight> demand) {
    state_->known.assign(demand.begin(), demand.end());
    state_->next_redraw = state_->arrivals;
}

// --- answers ---

Choice Fleet::choose(FleetNode node, const Shape& shape, std::uint64_t pod_key) {
    State& s = *state_;
    Choice best;
    const Room* before = room(node);
    if (before == nullptr) return best;
    const PolicyContext context{s.options.seed, pod_key, node};
    const CardOptions cards = card_options(*before, shape, scorer_->cards, card_hash(context));
    for (int i = 0; i < cards.count; ++i) {
        const Room after = room_after(*before, shape, cards.card[i]);
        const double score = s.step_score(*before, after, shape, context);
        if (best.fits && score <= best.score) continue;
        best = {true, score, after, cards.card[i]};
    }
    return best;
}

double Fleet::score(FleetNode node, const Room& after, const Shape& shape, std::uint64_t pod_key) {
    const Room* before = room(node);
    if (before == nullptr) return std::numeric_limits<double>::quiet_NaN();
    const PolicyContext context{state_->options.seed, pod_key, node};
    return state_->step_score(*before, after, shape, context);
}

void Fleet::scores(
    std::span<const FleetNode> nodes,
    const Shape& shape,
    std::span<double> out,
    std::uint64_t pod_key
) {
    EG_CHECK(out.size() >= nodes.size());
    State& s = *state_;
    std::vector<FleetEntry>& table = s.table(shape);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        out[i] = std::numeric_limits<double>::quiet_NaN();
        const FleetNode node = nodes[i];
        if (node >= s.slots_of.size() || s.slots_of[node] == State::kNoSlot) continue;
        if (scorer_->per_node) {
            const Choice choice = choose(node, shape, pod_key);
            if (choice.fits) out[i] = choice.score;
            continue;
        }
        const FleetEntry& entry = s.entry(table, s.slots_of[node], shape);
        if (entry.fits) out[i] = entry.score;
    }
}

std::optional<Pick> Fleet::place(const Shape& shape, std::uint64_t pod_key) {
    State& s = *state_;
    std::vector<FleetEntry>& table = s.table(shape);
    bool found = false;
    FleetNode best = 0;
    double best_score = 0;
    for (FleetNode node = 0; node < s.slots_of.size(); ++node) {
        const std::uint32_t slot = s.slots_of[node];
        if (slot == State::kNoSlot) continue;
        double score = 0;
        if (scorer_->per_node) {
            const PolicyContext context{s.options.seed, pod_key, node};
            if (!fits(s.rooms[node], shape)) continue;
            score = scorer_->score({s.rooms[node], s.rooms[node], shape, context});
        } else {
            const FleetEntry& entry = s.entry(table, slot, shape);
            if (!entry.fits) continue;
            score = entry.score;
        }
        if (found && score <= best_score) continue;
        found = true;
        best = node;
        best_score = score;
    }
    if (!found) return std::nullopt;
    return Pick{best, choose(best, shape, pod_key)};
}

}  // namespace egpu::core
