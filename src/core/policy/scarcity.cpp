#include "core/policy/scarcity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <tuple>

namespace egpu::core {
namespace {

using Lanes = float __attribute__((vector_size(16)));

Lanes load(const float* from) {
    Lanes out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

Lanes all(float value) {
    return Lanes{value, value, value, value};
}

// A pod that asks for exactly what there is must come out at 1 copy, whatever the rounding.
float inverse(std::int32_t amount) {
    return amount <= 0 ? 1e9F : static_cast<float>((1 + 2e-6) / amount);
}

// Half a thousandth of a core: room for the pods that ask for nothing, and for no other.
float at_least_a_trace(std::int32_t amount) {
    return std::max(static_cast<float>(amount), 0.5F);
}

int most_free_card(const Room& room) {
    int most = 0;
    for (int card = 0; card < room.cards; ++card) most = std::max<int>(most, room.free[card]);
    return most;
}

}  // namespace

Scarcity::Group Scarcity::group_of(const Shape& shape) {
    Group group;
    group.models = shape.models;
    group.cards = shape.cards;
    group.percent = shape.percent;
    for (int free = shape.percent; shape.percent > 0 && free <= 100; ++free) {
        group.copies[static_cast<std::size_t>(free)] =
            static_cast<std::uint8_t>(free / shape.percent);
    }
    return group;
}

int Scarcity::copies_on_cards(const Room& room, const Group& group, int most_free, int empty) {
    if (group.cards == 0) return 1 << 20;
    if (most_free < group.percent) return 0;
    if (group.percent == 100) return group.cards == 1 ? empty : empty / group.cards;
    const std::uint8_t* copies_by_free = group.copies.data();
    const std::uint8_t* free = room.free.data();
    int copies = 0;
    for (int card = 0; card < room.cards; ++card) copies += copies_by_free[free[card]];
    return group.cards == 1 ? copies : copies / group.cards;
}

double Scarcity::capacity(const Room& room, const Shape& shape) {
    if (shape.cards == 0 || !shape.allows(room.model)) return 0;
    double copies =
        copies_on_cards(room, group_of(shape), most_free_card(room), room.empty_cards());
    copies = std::min<double>(copies, at_least_a_trace(room.cpu_milli) * inverse(shape.cpu_milli));
    copies =
        std::min<double>(copies, at_least_a_trace(room.memory_mib) * inverse(shape.memory_mib));
    return copies < 1 ? 0 : copies * shape.gpu();
}

Scarcity::Scarcity(
    std::span<const ShapeWeight> demand,
    std::span<const RoomCount> rooms,
    const ScarcityOptions& options
) {
    using Key = std::tuple<std::uint64_t, std::uint8_t, std::uint8_t>;
    double demanded_cpu = 0;
    double demanded_gpu = 0;
    std::map<Key, std::vector<const ShapeWeight*>> grouped;
    for (const ShapeWeight& each : demand) {
        const Shape& s = each.shape;
        if (s.cards > 0 || options.cpu_only > 0) {
            grouped[{s.models, s.cards, s.percent}].push_back(&each);
        }
        demanded_cpu += each.weight * s.cpu_milli;
        demanded_gpu += each.weight * s.gpu();
    }
    const auto size = [&](const Shape& s) {
        if (s.cards > 0) return s.gpu();
        return demanded_cpu > 0 ? options.cpu_only * s.cpu_milli * demanded_gpu / demanded_cpu : 0;
    };
    std::vector<const ShapeWeight*> at;  // by position in the arrays
    for (const auto& [key, shapes] : grouped) {
        Group group = group_of(shapes.front()->shape);
        group.begin = at.size();
        for (const ShapeWeight* each : shapes) {
            at.push_back(each);
            per_cpu_.push_back(inverse(each->shape.cpu_milli));
            per_memory_.push_back(inverse(each->shape.memory_mib));
        }
        while (at.size() % kLanes != 0) {
            at.push_back(nullptr);
            per_cpu_.push_back(0);
            per_memory_.push_back(0);
        }
        group.end = at.size();
        groups_.push_back(group);
    }
    std::vector<double> sums(at.size());
    double installed = 0;
    double free = 0;
    for (const RoomCount& each : rooms) {
        installed += each.room.cards * static_cast<double>(each.nodes);
        free += each.room.free_total() / 100.0 * each.nodes;
        add_capacities(each.room, each.nodes, sums);
    }
    price_.assign(at.size(), 0);
    double weights = 0;
    for (const ShapeWeight& each : demand) weights += each.weight;
    const double scale =
        installed > 0 && weights > 0 ? options.weight * free / installed / weights : 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
        if (at[i] == nullptr) continue;
        const double gpu = size(at[i]->shape);
        if (gpu <= 0) continue;
        const double left = std::max(sums[i] * gpu, gpu);
        price_[i] = static_cast<float>(
            scale * at[i]->weight * std::pow(installed / left, options.exponent) * gpu
        );
    }
}

void Scarcity::add_capacities(const Room& room, double nodes, std::vector<double>& sums) const {
    const float cpu = at_least_a_trace(room.cpu_milli);
    const float memory = at_least_a_trace(room.memory_mib);
    const int most_free = most_free_card(room);
    const int empty = room.empty_cards();
    for (const Group& group : groups_) {
        if (group.models != 0 && ((group.models >> room.model) & 1U) == 0) continue;
        const auto copies = static_cast<float>(copies_on_cards(room, group, most_free, empty));
        if (copies < 1) continue;
        for (std::size_t i = group.begin; i < group.end; ++i) {
            const float most = std::min({copies, cpu * per_cpu_[i], memory * per_memory_[i]});
            if (most >= 1) sums[i] += static_cast<double>(most) * nodes;
        }
    }
}

double Scarcity::value(const Room& room) const {
    const Lanes cpu = all(at_least_a_trace(room.cpu_milli));
    const Lanes memory = all(at_least_a_trace(room.memory_mib));
    const Lanes one = all(1);
    Lanes sum = all(0);
    const int most_free = most_free_card(room);
    const int empty = room.empty_cards();
    const float* per_cpu = per_cpu_.data();
    const float* per_memory = per_memory_.data();
    const float* price = price_.data();
    for (const Group& group : groups_) {
        if (group.models != 0 && ((group.models >> room.model) & 1U) == 0) continue;
        const int copies = copies_on_cards(room, group, most_free, empty);
        if (copies < 1) continue;
        const Lanes most = all(static_cast<float>(copies));
        for (std::size_t i = group.begin; i < group.end; i += kLanes) {
            const Lanes by_cpu = cpu * load(per_cpu + i);
            const Lanes by_memory = memory * load(per_memory + i);
            Lanes able = by_cpu < by_memory ? by_cpu : by_memory;
            able = able < most ? able : most;
            able = able < one ? all(0) : able;
            sum += able * load(price + i);
        }
    }
    return static_cast<double>(sum[0] + sum[1]) + static_cast<double>(sum[2] + sum[3]);
}

}  // namespace egpu::core
