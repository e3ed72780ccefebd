#include "core/policy/futures.h"

#include <algorithm>

#include "base/random.h"

namespace egpu::core {
namespace {

// The cards of a node as the futures use them up: whole free ones by number, the others sorted.
struct Cards {
    int whole = 0;
    int parts = 0;
    std::array<std::uint8_t, kRoomCards> part{};  // ascending

    void insert(int percent) {
        int at = parts++;
        for (; at > 0 && part[at - 1] > percent; --at) part[at] = part[at - 1];
        part[at] = static_cast<std::uint8_t>(percent);
    }
    // The card with the least free that can take it.
    bool take(int percent, int least) {
        for (int at = 0; at < parts; ++at) {
            if (part[at] < percent) continue;
            const int left = part[at] - percent;
            if (left < least) {  // nothing will ever fit there
                --parts;
                for (; at < parts; ++at) part[at] = part[at + 1];
                return true;
            }
            for (; at > 0 && part[at - 1] > left; --at) part[at] = part[at - 1];
            part[at] = static_cast<std::uint8_t>(left);
            return true;
        }
        if (whole == 0) return false;
        --whole;
        if (100 - percent >= least) insert(100 - percent);
        return true;
    }
    bool full() const { return whole + parts == 0; }
};

}  // namespace

Futures::Futures(
    std::span<const ShapeWeight> demand, const FutureOptions& options, std::uint64_t models
)
    : pods_per_future_(options.pods) {
    std::vector<double> cumulative;
    double sum = 0;
    for (const ShapeWeight& each : demand) cumulative.push_back(sum += each.weight);
    Random random(options.seed ^ 0x5EEDF111ULL);
    const int count = demand.empty() ? 0 : options.futures * options.pods;
    for (int i = 0; i < count; ++i) {
        const double at = static_cast<double>(random() >> 11) * 0x1.0p-53 * sum;
        const auto it = std::upper_bound(cumulative.begin(), cumulative.end(), at);
        const auto index = std::min<std::ptrdiff_t>(
            it - cumulative.begin(), static_cast<std::ptrdiff_t>(demand.size()) - 1
        );
        drawn_.push_back(demand[static_cast<std::size_t>(index)].shape);
    }
    for (int model = 0; model < kMaxModels; ++model) {
        by_model_[model] = -1;
        if (((models >> model) & 1U) == 0) continue;
        by_model_[model] = static_cast<int>(sequences_.size());
        sequences_.push_back(for_model(static_cast<ModelId>(model)));
    }
}

Futures::Sequence Futures::for_model(ModelId model) const {
    Sequence out;
    for (std::size_t i = 0; i < drawn_.size(); ++i) {
        const Shape& s = drawn_[i];
        if (s.cards == 0 || s.allows(model)) {
            out.pods.push_back({s.cpu_milli, s.memory_mib, s.cards, s.percent});
            if (s.cards > 0) {
                out.least_percent = std::min<int>(out.least_percent, s.percent);
                out.least_cpu = std::min(out.least_cpu, s.cpu_milli);
            }
        }
        if ((i + 1) % static_cast<std::size_t>(pods_per_future_) == 0) {
            out.ends.push_back(static_cast<std::uint32_t>(out.pods.size()));
        }
    }
    return out;
}

double Futures::value_in(const Sequence& sequence, const Room& room) const {
    Cards at_first;
    for (int card = 0; card < room.cards; ++card) {
        if (room.free[card] == 100) {
            ++at_first.whole;
        } else if (room.free[card] >= sequence.least_percent) {
            at_first.insert(room.free[card]);
        }
    }
    if (at_first.full() || sequence.ends.empty()) return 0;
    int taken = 0;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : sequence.ends) {
        Cards cards = at_first;
        // Unlimited stays unlimited: all pods of a future together ask for far less.
        std::int32_t cpu = room.cpu_milli;
        std::int32_t memory = room.memory_mib;
        for (std::uint32_t i = begin; i < end; ++i) {
            const Pod& pod = sequence.pods[i];
            if (pod.cpu_milli > cpu || pod.memory_mib > memory) continue;
            if (pod.percent == 100) {
                if (cards.whole < pod.cards) continue;
                cards.whole -= pod.cards;
                taken += 100 * pod.cards;
            } else if (pod.cards > 0) {
                // Shares of several cards are rare: taken as that many single ones or none.
                Cards tried = cards;
                int left = pod.cards;
                while (left > 0 && tried.take(pod.percent, sequence.least_percent)) --left;
                if (left > 0) continue;
                cards = tried;
                taken += pod.percent * pod.cards;
            }
            cpu -= pod.cpu_milli;
            memory -= pod.memory_mib;
            if (cards.full() || cpu < sequence.least_cpu) break;
        }
        begin = end;
    }
    return taken / (100.0 * static_cast<double>(sequence.ends.size()));
}

double Futures::value(const Room& room) const {
    const int prepared = by_model_[room.model % kMaxModels];
    if (prepared >= 0) return value_in(sequences_[static_cast<std::size_t>(prepared)], room);
    return value_in(for_model(room.model), room);
}

}  // namespace egpu::core
