#include "guard/compute/cost_table.h"

namespace egpu::guard {

namespace {

constexpr std::uint32_t kWindow = 32;         // samples
constexpr std::uint32_t kUnusableBefore = 2;  // before the shape is measured alone
constexpr std::uint64_t kNoSliceNs = 400'000;
constexpr std::uint64_t kSliceNs = 2'000'000;
constexpr unsigned kSettledAmongNeighbours = 24;
constexpr unsigned kSettled = 8;  // samples after which one weighs an eighth

std::uint64_t lower(std::uint64_t a, std::uint64_t b) {
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

// A step of the mean of `samples` values towards one more; from `settled` on, that part of the way.
std::uint64_t towards(std::uint64_t before, std::uint64_t now, unsigned samples, unsigned settled) {
    const auto from = static_cast<std::int64_t>(before);
    const std::int64_t weight = samples < settled ? samples + 1 : settled;
    const std::int64_t after = from + (static_cast<std::int64_t>(now) - from) / weight;
    return after > 0 ? static_cast<std::uint64_t>(after) : 1;
}

// The span met no neighbour: a kernel varies with its data, a neighbour's slice is more than that.
bool clean(std::uint64_t each, std::uint64_t lowest, std::uint64_t launches) {
    // The mean of several varies less.
    const std::uint64_t room = launches < 4 ? lowest : launches < 16 ? lowest / 2 : lowest / 4;
    return each <= lowest + room && (each - lowest) * launches <= kNoSliceNs;
}

}  // namespace

CostHistory& CostTable::history_of(std::uint32_t index, std::uint64_t key) {
    CostHistory& history = histories_[index];
    if (history.key != key) history = CostHistory{.key = key};
    return history;
}

// The cost of a kernel that only ever runs beside neighbours' slices, from bounds that always hold:
// a span is never shorter than the kernel, and among n neighbours never longer than n + 1 times the
// kernel and one slice of each. Between them, what was learned without neighbours; else the mean.
// Where spans contradict the bounds, the cost itself varies and the mean is all there is.
std::uint64_t CostTable::among_neighbours(
    const CostHistory& history,
    std::uint64_t launches,
    std::uint64_t bound,
    std::uint64_t top,
    const Around& around
) {
    const std::uint64_t part = around.share_ppm == 0 ? kWholePpm : around.share_ppm;
    const std::uint64_t mean = history.mean_ns * part / kWholePpm;
    std::uint64_t floor = 0;
    if (around.neighbours != 0 && !around.spatial) {
        const std::uint64_t slices = kSliceNs * around.neighbours / launches;
        floor = (top > slices ? top - slices : 0) / (around.neighbours + 1);
    }
    if (floor > bound + bound / 8) return mean;
    // A mean that comes near the shortest span says that the shortest met nobody.
    const std::uint64_t shortest = bound <= mean + mean / 12 ? bound : mean;
    const std::uint64_t cost = history.exact_ns != 0 ? history.exact_ns : shortest;
    return cost > bound ? bound : cost < floor ? floor : cost;
}

CostTable::Lesson CostTable::teach(
    std::uint32_t index,
    std::uint64_t key,
    std::uint64_t span_ns,
    std::uint64_t launches,
    const Around& around
) {
    CostEntry& entry = entries_[index];
    CostHistory& history = history_of(index, key);
    history.unusable = 0;
    const std::uint64_t each = span_ns / launches > 0 ? span_ns / launches : 1;
    history.lowest_ns = lower(history.lowest_ns, each);
    const std::uint64_t bound = lower(history.lowest_ns, history.lowest_before_ns);
    if (each > history.highest_ns) history.highest_ns = each;
    const std::uint64_t top = history.highest_before_ns > history.highest_ns
                                  ? history.highest_before_ns
                                  : history.highest_ns;
    if (++history.samples >= kWindow) {
        history.lowest_before_ns = history.lowest_ns;
        history.highest_before_ns = history.highest_ns;
        history.lowest_ns = history.highest_ns = 0;
        history.samples = 0;
    }
    std::uint64_t before = 0;
    unsigned confidence = 0;
    bool measured_alone = false;
    if (entry.key.load(std::memory_order_relaxed) == key) {
        const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
        confidence = CostEntry::confidence(word);
        measured_alone = CostEntry::alone(word);
        if (confidence > 0) before = CostEntry::cost(word);
    }
    // A segment shorter than a slice either meets no neighbour or whole slices of them: spans near
    // the shortest of late are clean, the others teach nothing. A longer one always meets the
    // neighbours' slices, and only their part of the time says what was its own.
    const bool alone = around.share_ppm >= kAlonePpm;
    const bool in_slice = !around.spatial && bound * launches < kInSliceNs;
    const bool near = each <= bound + bound / 8;
    const bool exact = around.crowded ? near && (alone || in_slice)
                                      : alone || (in_slice && clean(each, bound, launches));
    if (!exact && (in_slice || around.crowded) && confidence > 0) return {before, false};
    std::uint64_t cost = each;
    if (exact) {
        // A first span that met neighbours is not worth a mean.
        if (confidence > 0 && ((alone && !around.crowded) || before <= 2 * bound)) {
            cost = towards(before, each, confidence, kSettled);
        }
        history.exact_ns = cost;
        history.mean_ns = history.spans = 0;
    } else {
        history.mean_ns = towards(history.mean_ns, each, history.spans, kSettledAmongNeighbours);
        if (history.spans < kSettledAmongNeighbours) ++history.spans;
        cost = among_neighbours(history, launches, bound, top, around);
    }
    entry.word.store(
        CostEntry::pack(cost, confidence + 1, measured_alone), std::memory_order_relaxed
    );
    entry.key.store(key, std::memory_order_relaxed);
    return {cost, exact};
}

void CostTable::nudge(std::uint32_t index, std::uint64_t key, std::uint64_t ratio_ppm) {
    CostEntry& entry = entries_[index];
    if (key == 0 || entry.key.load(std::memory_order_relaxed) != key) return;
    const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
    const auto cost = static_cast<std::int64_t>(CostEntry::cost(word));
    constexpr std::uint64_t kMost = std::uint64_t{3} * kWholePpm;
    const auto bounded = static_cast<std::int64_t>(ratio_ppm > kMost ? kMost : ratio_ppm);
    const std::int64_t step =
        cost * (bounded - static_cast<std::int64_t>(kWholePpm)) / 1'000'000 * 3 / 10;
    const std::int64_t after = cost + step > 0 ? cost + step : 1;
    entry.word.store(
        CostEntry::pack(
            static_cast<std::uint64_t>(after), CostEntry::confidence(word), CostEntry::alone(word)
        ),
        std::memory_order_relaxed
    );
}

std::uint32_t CostTable::unusable(std::uint32_t index, std::uint64_t key) {
    if (key == 0) return 0;
    const std::uint32_t in_a_row = ++history_of(index, key).unusable;
    CostEntry& entry = entries_[index];
    if (in_a_row < kUnusableBefore || entry.key.load(std::memory_order_relaxed) != key) {
        return in_a_row;
    }
    const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
    entry.word.store(
        CostEntry::pack(CostEntry::cost(word), CostEntry::confidence(word), true),
        std::memory_order_relaxed
    );
    return in_a_row;
}

void CostTable::forget(std::uint64_t key) {
    CostEntry& entry = entries_[slot(key)];
    if (entry.key.load(std::memory_order_relaxed) == key)
        entry.key.store(0, std::memory_order_relaxed);
}

}  // namespace egpu::guard
