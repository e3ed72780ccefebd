#include "core/policy/futures.h"

#include <algorithm>
#include <bit>

#include "base/random.h"

namespace egpu::core {

// The cards of a node as a future uses them up: whole free ones by number, the others sorted.
struct Futures::Cards {
    int whole = 0;
    int parts = 0;
    std::uint8_t part[kRoomCards] =
        {};  // ascending; a plain array, for its indexes are not checked

    void insert(int percent) {
        int at = parts++;
        for (; at > 0 && part[at - 1] > percent; --at) part[at] = part[at - 1];
        part[at] = static_cast<std::uint8_t>(percent);
    }
    // The card with the least free that can take it; rests below `least` are forgotten.
    bool take(int percent, int least) {
        int at = 0;
        while (at < parts && part[at] < percent) ++at;
        if (at == parts) {
            if (whole == 0) return false;
            --whole;
            if (100 - percent >= least) insert(100 - percent);
            return true;
        }
        const int left = part[at] - percent;
        if (left < least) {
            --parts;
            for (; at < parts; ++at) part[at] = part[at + 1];
            return true;
        }
        for (; at > 0 && part[at - 1] > left; --at) part[at] = part[at - 1];
        part[at] = static_cast<std::uint8_t>(left);
        return true;
    }
    bool full() const { return whole + parts == 0; }
    int largest_part() const { return whole > 0 ? 99 : parts > 0 ? part[parts - 1] : 0; }
};

Futures::Futures(std::span<const ShapeWeight> demand, const FutureOptions& options) {
    if (demand.empty()) return;
    const int length = std::clamp(options.pods, 1, kMostPods);
    futures_ = static_cast<std::size_t>(std::max(options.futures, 1));
    pods_.resize(futures_ * kMostPods);
    cpu_only_.resize(futures_);
    shares_.resize(100 * futures_);
    wholes_.resize((kRoomCards + 1) * futures_);
    allowed_.resize(kMaxModels * futures_);
    std::vector<double> cumulative;
    double sum = 0;
    for (const ShapeWeight& each : demand) {
        sum += each.weight * (each.shape.cards == 0 ? options.cpu_only : 1);
        cumulative.push_back(sum);
    }
    Random random(options.seed ^ 0x5EEDF111ULL);
    for (std::size_t future = 0; future < futures_; ++future) {
        for (int i = 0; i < length; ++i) {
            const double at = static_cast<double>(random() >> 11) * 0x1.0p-53 * sum;
            const auto it = std::upper_bound(cumulative.begin(), cumulative.end(), at);
            const auto index = std::min<std::ptrdiff_t>(
                it - cumulative.begin(), static_cast<std::ptrdiff_t>(demand.size()) - 1
            );
            const Shape& s = demand[static_cast<std::size_t>(index)].shape;
            pods_[future * kMostPods + static_cast<std::size_t>(i)] = {
                s.cpu_milli, s.memory_mib, s.cards, s.percent};
            const Set bit = Set{1} << i;
            if (s.cards == 0) cpu_only_[future] |= bit;
            for (std::size_t most = s.percent; s.share() && most < 100; ++most) {
                shares_[most * futures_ + future] |= bit;
            }
            for (std::size_t most = s.cards; s.percent == 100 && most <= kRoomCards; ++most) {
                wholes_[most * futures_ + future] |= bit;
            }
            for (int model = 0; model < kMaxModels; ++model) {
                if (s.cards > 0 && !s.allows(static_cast<ModelId>(model))) continue;
                allowed_[static_cast<std::size_t>(model) * futures_ + future] |= bit;
                if (s.cards == 0) continue;
                Limits& limits = limits_[static_cast<std::size_t>(model)];
                limits.least_percent = std::min<int>(limits.least_percent, s.percent);
                limits.least_cpu = std::min(limits.least_cpu, s.cpu_milli);
            }
        }
    }
}

int Futures::taken_by(
    std::size_t future, Set left, const Limits& limits, Cards cards, const Room& room
) const {
    // Unlimited stays unlimited: all pods of a future together ask for far less.
    std::int32_t cpu = room.cpu_milli;
    std::int32_t memory = room.memory_mib;
    // Plain pointers: this is the innermost loop of all, and the library checks every index.
    const Pod* pods = pods_.data() + future * kMostPods;
    const Set* shares = shares_.data() + future;
    const Set* wholes = wholes_.data() + future;
    const Set cpu_only = cpu_only_[future];
    int taken = 0;
    while (!cards.full() && cpu >= limits.least_cpu) {
        const auto part = static_cast<std::size_t>(cards.largest_part());
        const auto whole = static_cast<std::size_t>(cards.whole);
        const Set able = left & (cpu_only | shares[part * futures_] | wholes[whole * futures_]);
        if (able == 0) break;
        const int next = std::countr_zero(able);
        left &= ~Set{1} << next;
        const Pod& pod = pods[next];
        if (pod.cpu_milli > cpu || pod.memory_mib > memory) continue;
        if (pod.percent == 100) {
            cards.whole -= pod.cards;
        } else if (pod.cards == 1) {
            cards.take(pod.percent, limits.least_percent);
        } else if (pod.cards > 1) {
            // Shares of several cards are rare: taken like as many single ones, or not at all.
            const Cards before = cards;
            int missing = pod.cards;
            while (missing > 0 && cards.take(pod.percent, limits.least_percent)) --missing;
            if (missing > 0) {
                cards = before;
                continue;
            }
        }
        taken += pod.percent * pod.cards;
        cpu -= pod.cpu_milli;
        memory -= pod.memory_mib;
    }
    return taken;
}

double Futures::value(const Room& room) const {
    if (futures_ == 0) return 0;
    const Limits& limits = limits_[room.model];
    Cards cards;
    for (int card = 0; card < room.cards; ++card) {
        if (room.free[card] == 100) {
            ++cards.whole;
        } else if (room.free[card] >= limits.least_percent) {
            cards.insert(room.free[card]);
        }
    }
    if (cards.full() || room.cpu_milli < limits.least_cpu) return 0;
    int taken = 0;
    for (std::size_t future = 0; future < futures_; ++future) {
        taken += taken_by(future, allowed_[room.model * futures_ + future], limits, cards, room);
    }
    return taken / (100.0 * static_cast<double>(futures_));
}

}  // namespace egpu::core
