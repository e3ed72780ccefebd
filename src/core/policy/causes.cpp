#include "core/policy/causes.h"

namespace egpu::core {

Causes& Causes::operator+=(const Causes& other) {
    model += other.model;
    shape += other.shape;
    cpu += other.cpu;
    memory += other.memory;
    usable += other.usable;
    return *this;
}

Causes Causes::operator*(double factor) const {
    return {model * factor, shape * factor, cpu * factor, memory * factor, usable * factor};
}

Causes causes_of(const Room& room, std::span<const ShapeWeight> demand) {
    Causes out;
    const double free = room.free_total() / 100.0;
    if (free <= 0) return out;
    double weights = 0;
    for (const auto& [shape, weight] : demand) {
        if (shape.cards == 0) continue;
        weights += weight;
        if (!shape.allows(room.model)) {
            out.model += weight * free;
            continue;
        }
        int able = 0;
        int on_able = 0;
        for (int card = 0; card < room.cards; ++card) {
            if (room.free[card] < shape.percent) continue;
            ++able;
            on_able += room.free[card];
        }
        const double reachable = able >= shape.cards ? on_able / 100.0 : 0;
        out.shape += weight * (free - reachable);
        if (shape.cpu_milli > room.cpu_milli) {
            out.cpu += weight * reachable;
        } else if (shape.memory_mib > room.memory_mib) {
            out.memory += weight * reachable;
        } else {
            out.usable += weight * reachable;
        }
    }
    return weights > 0 ? out * (1 / weights) : out;
}

}  // namespace egpu::core
