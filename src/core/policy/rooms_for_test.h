// Short ways to write rooms and pods in tests.
#pragma once

#include <initializer_list>

#include "core/room.h"

namespace egpu::core {

inline Room room_of(
    std::initializer_list<int> free, int cpu = kUnlimited, int memory = kUnlimited, int model = 0
) {
    Room room;
    room.cpu_milli = cpu;
    room.memory_mib = memory;
    room.model = static_cast<ModelId>(model);
    for (const int each : free) room.free[room.cards++] = static_cast<std::uint8_t>(each);
    return room;
}

inline Shape share_of(int percent, int cpu = 0, int memory = 0, std::uint64_t models = 0) {
    return {cpu, memory, models, 1, static_cast<std::uint8_t>(percent)};
}

inline Shape whole_cards(int cards, int cpu = 0, int memory = 0, std::uint64_t models = 0) {
    return {cpu, memory, models, static_cast<std::uint8_t>(cards), 100};
}

inline Shape no_card(int cpu, int memory = 0) {
    return {cpu, memory, 0, 0, 0};
}

}  // namespace egpu::core
