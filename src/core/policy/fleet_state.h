// What a Fleet keeps. Internal to fleet.cpp and refresh.cpp.
//
// Nodes with like rooms share a slot. Per shape that is asked for there is a table with an entry
// per slot: the rooms its pod could leave (as ids of their values) and the score that follows. An
// entry's stamp says for which room of the slot it was made, its version for which Outlook.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/policy/demand_statistics.h"
#include "core/policy/fleet.h"
#include "core/policy/outlook.h"
#include "core/policy/value_memo.h"

namespace egpu::core {

struct RoomHash {
    std::size_t operator()(const Room& room) const;
};

struct FleetSlot {
    Room room;  // sorted
    std::uint32_t nodes = 0;
    std::uint32_t stamp = 0;
    ValueId value = 0;
};

struct FleetEntry {
    static constexpr int kAfters = 4;
    std::uint32_t stamp = 0;
    std::uint32_t version = 0;
    double score = 0;
    bool fits = false;
    std::uint8_t afters = 0;  // more than kAfters: not kept
    std::array<ValueId, kAfters> after{};
};

struct Fleet::State {
    static constexpr std::uint32_t kNoSlot = 0xFFFFFFFF;

    State(const Scorer& scorer_given, const FleetOptions& options_given)
        : scorer(&scorer_given),
          options(options_given),
          demand(options_given.half_life, options_given.max_shapes) {}

    std::uint32_t slot_for(const Room& room);
    void leave_slot(std::uint32_t slot);
    std::vector<FleetEntry>& table(const Shape& shape);
    // The entry of a slot, brought up to date.
    const FleetEntry& entry(std::vector<FleetEntry>& table, std::uint32_t slot, const Shape& shape);
    double potential_score(double before, double after) const;
    double step_score(
        const Room& before, const Room& after, const Shape& shape, const PolicyContext& context
    );
    void bound_memory();

    const Scorer* scorer;
    FleetOptions options;

    std::vector<Room> rooms;              // by node
    std::vector<std::uint32_t> slots_of;  // by node
    std::vector<FleetSlot> slots;
    std::vector<std::uint32_t> free_slots;
    std::unordered_map<Room, std::uint32_t, RoomHash> slot_index;
    std::uint32_t next_stamp = 1;
    std::unordered_map<Shape, std::vector<FleetEntry>, ShapeHash> tables;

    DemandStatistics demand;
    std::vector<ShapeWeight> known;  // beforehand; then nothing is learned
    std::uint64_t arrivals = 0;
    std::uint64_t next_redraw = 1;
    std::uint64_t next_prices = 1;

    Outlook outlook;
    std::uint32_t version = 1;  // of the outlook
    ValueMemo memo;
};

// What a Refresh carries.
struct Refresh::Work {
    bool redraw = false;
    bool warm = false;
    std::uint64_t arrivals = 0;
    Potential potential = Potential::kNone;
    FleetOptions options;
    std::vector<ShapeWeight> demand;
    std::vector<RoomCount> rooms;
    std::vector<Shape> shapes;  // to warm
    CardRule cards = CardRule::kByScore;
    Outlook outlook;
    bool outlook_done = false;
    // Without a redraw: prices of rooms that were asked for, by id in the Fleet's memo.
    std::vector<std::pair<ValueId, Room>> asked;
    std::vector<double> prices;
    // With one: a memo that replaces the Fleet's.
    ValueMemo memo;
    std::size_t next = 0;

    void make_outlook();
    bool step(int values);
};

}  // namespace egpu::core
