#include "core/policy/fragmentation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

namespace egpu::core {
namespace {

// Sums are kept apart and added in this order: near ties depend on it.
enum Class { kLackBoth, kLackGpu, kUsable, kLackCpu, kCpuOnlyFits, kCpuOnlyLacks, kNoAccess };

}  // namespace

Fragmentation::Fragmentation(std::span<const ShapeWeight> demand, double popularity) {
    double total = 0;
    for (const ShapeWeight& each : demand) {
        const Shape& s = each.shape;
        total += each.weight;
        const auto same = [&](const Typical& t) {
            return t.cpu_milli == s.cpu_milli && t.models == s.models && t.cards == s.cards &&
                   t.percent == s.percent;
        };
        const auto it = std::find_if(typical_.begin(), typical_.end(), same);
        if (it != typical_.end()) {
            it->frequency += each.weight;
        } else {
            typical_.push_back({s.cpu_milli, s.models, s.cards, s.percent, each.weight});
        }
    }
    std::sort(typical_.begin(), typical_.end(), [](const Typical& a, const Typical& b) {
        return std::tie(a.frequency, a.cpu_milli, a.percent, a.cards, a.models) >
               std::tie(b.frequency, b.cpu_milli, b.percent, b.cards, b.models);
    });
    double kept = 0;
    std::size_t count = 0;
    while (count < typical_.size() && kept < popularity * total) {
        kept += typical_[count++].frequency;
    }
    typical_.resize(count);
    // In two steps, as published.
    for (Typical& each : typical_) each.frequency = each.frequency / total / (kept / total);
}

double Fragmentation::amount(const Room& room) const {
    std::array<int, kRoomCards> free{};  // in thousandths
    int total = 0;
    for (int card = 0; card < room.cards; ++card) {
        free[card] = room.free[card] * 10;
        total += free[card];
    }
    if (total == 0) return 0;
    std::array<double, 7> sums{};
    for (const Typical& pod : typical_) {
        const bool cpu = pod.cpu_milli <= room.cpu_milli;
        if (pod.cards == 0) {
            sums[cpu ? kCpuOnlyFits : kCpuOnlyLacks] += pod.frequency * total;
            continue;
        }
        if (pod.models != 0 && ((pod.models >> room.model) & 1U) == 0) {
            sums[kNoAccess] += pod.frequency * total;
            continue;
        }
        int able = 0;
        int unusable = 0;
        for (int card = 0; card < room.cards; ++card) {
            if (free[card] >= pod.percent * 10) {
                ++able;
            } else {
                unusable += free[card];
            }
        }
        if (able < pod.cards) {
            sums[cpu ? kLackGpu : kLackBoth] += pod.frequency * total;
        } else if (!cpu) {
            sums[kLackCpu] += pod.frequency * total;
        } else {
            sums[kLackGpu] += pod.frequency * unusable;
        }
    }
    double amount = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) amount += i == kUsable ? 0 : sums[i];
    return amount;
}

double fragmentation_score(double before, double after) {
    return std::trunc(1 / (1 + std::exp(-((before - after) / 1000))) * 100);
}

}  // namespace egpu::core
