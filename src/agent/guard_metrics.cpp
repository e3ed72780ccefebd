#include "agent/guard_metrics.h"

#include <algorithm>
#include <utility>

#include "guard/pages.h"

namespace egpu::agent {
namespace {

constexpr const char* kUsed = "edge_gpu_guard_memory_used_bytes";
constexpr const char* kPeak = "edge_gpu_guard_memory_peak_bytes";
constexpr const char* kLimit = "edge_gpu_guard_memory_limit_bytes";
constexpr const char* kShare = "edge_gpu_guard_compute_share_ratio";
constexpr const char* kRefused = "edge_gpu_guard_memory_refusals_total";
constexpr const char* kLaunches = "edge_gpu_guard_launches_total";
constexpr const char* kBusy = "edge_gpu_guard_busy_seconds_total";
constexpr const char* kThrottled = "edge_gpu_guard_throttled_seconds_total";
constexpr const char* kTampered = "edge_gpu_guard_tampered_total";
constexpr const char* kRepairs = "edge_gpu_guard_ledger_repairs_total";
constexpr const char* kLetThrough = "edge_gpu_guard_let_through_total";
constexpr const char* kOutstanding = "edge_gpu_guard_outstanding_seconds";
constexpr const char* kLongest = "edge_gpu_guard_longest_kernel_seconds";
constexpr const char* kOverhead = "edge_gpu_guard_memory_overhead_bytes";
constexpr const char* kMeasured = "edge_gpu_guard_memory_measured_bytes";
constexpr const char* kAchieved = "edge_gpu_guard_compute_achieved_ratio";
constexpr const char* kMeasuredBusy = "edge_gpu_guard_measured_busy_seconds_total";
constexpr const char* kMode = "edge_gpu_guard_compute_mode";
constexpr const char* kGated = "edge_gpu_guard_gated";
constexpr const char* kTrim = "edge_gpu_guard_compute_trim_ratio";
// Of the container, not of a card.
constexpr const char* kProcesses = "edge_gpu_guard_processes";
constexpr const char* kFindings = "edge_gpu_guard_bypassing";
constexpr const char* kUncovered = "edge_gpu_guard_uncovered_functions_total";
constexpr const char* kUnknownFrees = "edge_gpu_guard_unknown_frees_total";

constexpr double kMostLaunchesPerSecond = 10e6;
constexpr double kMostThreads = 1024;                  // held back at once
constexpr double kMostEvents = 1e6;                    // of the rarer kinds, between two updates
constexpr double kMostNs = 3600e9;                     // of one kernel, and of queued work
constexpr std::uint64_t kAchievedNs = 10'000'000'000;  // what is achieved is told over this long

// What a counter of the ledger rose by; it starts anew when the process that held it has ended.
double rise(std::uint64_t before, std::uint64_t after, double most) {
    const std::uint64_t by = after >= before ? after - before : after;
    return std::min(static_cast<double>(by), most);
}

const char* mode_name(std::uint32_t mode) {
    switch (static_cast<guard::ComputeMode>(mode)) {
        case guard::ComputeMode::kOff:
            return "off";
        case guard::ComputeMode::kSoft:
            return "soft";
        case guard::ComputeMode::kBurst:
            return "burst";
        case guard::ComputeMode::kHard:
            break;
    }
    return "hard";
}

void set(const char* name, const char* help, const metrics::Labels& labels, double value) {
    metrics::gauge(name, help, labels).set(value);
}

metrics::Labels holder_labels(const Record& record) {
    return {
        {"namespace", record.holder.pod_namespace},
        {"pod", record.holder.pod_name},
        {"container", record.holder.container}};
}

// Of each of the first `count` cards.
std::vector<metrics::Labels> labels_of(const Record& record, std::size_t count) {
    std::vector<metrics::Labels> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(holder_labels(record));
        all.back().emplace("card", std::to_string(record.cards[i].index));
    }
    return all;
}

}  // namespace

void GuardMetrics::update(
    const Record& record,
    const isolation::Quota& quota,
    const isolation::LedgerCopy& ledger,
    bool readable,
    const std::optional<guard::LimitsBody>& limits,
    const ContainerMeasure& measure,
    TimePoint now
) {
    if (record.holder.pod_name.empty()) return;  // named a moment later
    const double seconds =
        last_ == TimePoint{} ? 1.0 : std::chrono::duration<double>(now - last_).count();
    last_ = now;
    const std::size_t count = std::min(quota.cards.size(), record.cards.size());
    // Who was presumed at admission may turn out to be another; indexes move when cards come and
    // go.
    if (const auto now_labels = labels_of(record, count); now_labels != card_labels()) {
        forget();
        labels_ = holder_labels(record);
        for (const metrics::Labels& labels : now_labels) cards_.emplace_back().labels = labels;
    }
    if (!readable && !tampered_ && !cards_.empty()) {
        metrics::counter(kTampered, "Ledgers found unreadable.", cards_.front().labels).add();
    }
    tampered_ = !readable;
    for (std::size_t i = 0; i < count; ++i) {
        Card& card = cards_[i];
        if (quota.cards[i].memory_bytes != guard::kUnlimited) {
            set(kLimit,
                "Memory the container may use.",
                card.labels,
                static_cast<double>(quota.cards[i].memory_bytes));
        }
        set(kShare,
            "Part of the card's time the container may use.",
            card.labels,
            static_cast<double>(quota.cards[i].share_ppm) / guard::kWholePpm);
        if (readable) update_ledger(card, ledger.cards[i], seconds);
        if (limits && i < limits->device_count) update_limits(card, limits->devices[i]);
        update_measure(card, i < measure.cards.size() ? measure.cards[i] : CardMeasure{}, now);
    }
    if (readable && count > 0) update_container(ledger, measure);
}

std::vector<metrics::Labels> GuardMetrics::card_labels() const {
    std::vector<metrics::Labels> all;
    all.reserve(cards_.size());
    for (const Card& card : cards_) all.push_back(card.labels);
    return all;
}

void GuardMetrics::update_ledger(Card& card, const isolation::CardUsage& use, double seconds) {
    const double most = kMostLaunchesPerSecond * std::max(seconds, 0.1);
    const double second = 1e9 * std::max(seconds, 1.0);
    const isolation::CardUsage& seen = card.seen;
    set(kUsed,
        "Memory that the guard has charged.",
        card.labels,
        static_cast<double>(use.used_bytes));
    set(kPeak,
        "The most memory that the guard has charged.",
        card.labels,
        static_cast<double>(use.peak_bytes));
    set(kLongest,
        "Longest kernel of late.",
        card.labels,
        std::min(static_cast<double>(use.largest_ns), kMostNs) / 1e9);
    set(kOutstanding,
        "GPU time charged and not known to have run.",
        card.labels,
        std::min(static_cast<double>(use.outstanding_ns), kMostNs) / 1e9);
    const auto count = [&](const char* name, const char* help, double by) {
        metrics::counter(name, help, card.labels).add(by);
    };
    const double busy_ns = rise(seen.charged_ns, use.charged_ns, 2 * second);
    count(kRefused, "Allocations refused for the quota.", rise(seen.refused, use.refused, most));
    count(kLaunches, "Launches charged.", rise(seen.launches, use.launches, most));
    count(kBusy, "GPU time charged.", busy_ns / 1e9);
    count(
        kThrottled,
        "Time that launches were held back.",
        rise(seen.throttled_ns, use.throttled_ns, kMostThreads * second) / 1e9
    );
    count(
        kLetThrough,
        "Launches let through because a wait was at its bound.",
        rise(seen.let_through, use.let_through, most)
    );
    count(
        kRepairs,
        "Sums of the ledger that were too high and put right.",
        rise(seen.audit_repairs, use.audit_repairs, kMostEvents)
    );
    card.charged_ns += busy_ns;
    card.seen = use;
}

void GuardMetrics::update_limits(Card& card, const guard::DeviceLimits& limits) {
    const std::string mode = mode_name(limits.mode);
    if (mode != card.mode) {
        metrics::Labels labels = card.labels;
        if (!card.mode.empty()) {
            labels["mode"] = card.mode;
            metrics::remove_gauge(kMode, labels);
        }
        labels["mode"] = card.mode = mode;
        set(kMode, "1 for the mode that the compute share is kept in.", labels, 1);
    }
    set(kOverhead,
        "Memory in use beyond what the guard charged, taken off the quota.",
        card.labels,
        static_cast<double>(limits.overhead_bytes));
    set(kGated,
        "Best effort, and held back for a guaranteed neighbour.",
        card.labels,
        limits.gated != 0 ? 1 : 0);
    set(kTrim,
        "Correction of the share by what was measured.",
        card.labels,
        limits.gain_ppm == 0 ? 1 : static_cast<double>(limits.gain_ppm) / guard::kWholePpm);
}

void GuardMetrics::update_measure(Card& card, const CardMeasure& measure, TimePoint now) {
    if (measure.bytes) {
        set(kMeasured,
            "Memory the container's processes have, by NVML.",
            card.labels,
            static_cast<double>(*measure.bytes));
    } else {
        metrics::remove_gauge(kMeasured, card.labels);
    }
    if (measure.busy) {
        const double by = measure.busy->busy_ns - card.measured_ns;
        card.measured_ns = measure.busy->busy_ns;
        metrics::counter(kMeasuredBusy, "Time on the card, by NVML.", card.labels)
            .add(std::max(by, 0.0) / 1e9);
    }
    // By NVML where it tells, else by what was charged.
    const bool by_nvml = measure.busy.has_value();
    if (std::exchange(card.by_nvml, by_nvml) != by_nvml) card.busy.clear();
    const auto now_ns = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count()
    );
    const std::uint64_t at = by_nvml ? measure.busy->at_ns : now_ns;
    if (card.busy.empty() || at > card.busy.back().first) {
        card.busy.emplace_back(at, by_nvml ? measure.busy->busy_ns : card.charged_ns);
    }
    while (card.busy.size() > 2 && card.busy[1].first + kAchievedNs <= at) card.busy.pop_front();
    if (card.busy.size() < 2) return;
    const double ns = card.busy.back().second - card.busy.front().second;
    const auto time = static_cast<double>(card.busy.back().first - card.busy.front().first);
    set(kAchieved,
        "Part of the card's time the container had over the last ten seconds.",
        card.labels,
        std::max(ns, 0.0) / time);
}

void GuardMetrics::update_container(
    const isolation::LedgerCopy& ledger, const ContainerMeasure& measure
) {
    set(kProcesses, "Processes under the guard.", labels_, ledger.processes);
    set(kFindings, "Findings that the container gets past the guard.", labels_, measure.findings);
    metrics::counter(
        kUncovered, "Allocating or launching functions handed out without a hook.", labels_
    )
        .add(rise(uncovered_, ledger.uncovered, kMostEvents));
    metrics::counter(
        kUnknownFrees, "Frees of memory that the guard did not see allocated.", labels_
    )
        .add(rise(unknown_frees_, ledger.unknown_frees, kMostEvents));
    uncovered_ = ledger.uncovered;
    unknown_frees_ = ledger.unknown_frees;
}

void GuardMetrics::forget() {
    for (const Card& card : cards_) {
        for (const char* name :
             {kUsed,
              kPeak,
              kLimit,
              kShare,
              kLongest,
              kOutstanding,
              kOverhead,
              kMeasured,
              kAchieved,
              kGated,
              kTrim}) {
            metrics::remove_gauge(name, card.labels);
        }
        metrics::Labels labels = card.labels;
        labels["mode"] = card.mode;
        metrics::remove_gauge(kMode, labels);
        for (const char* name :
             {kRefused,
              kLaunches,
              kBusy,
              kThrottled,
              kTampered,
              kLetThrough,
              kRepairs,
              kMeasuredBusy}) {
            metrics::remove_counter(name, card.labels);
        }
    }
    for (const char* name : {kProcesses, kFindings}) metrics::remove_gauge(name, labels_);
    for (const char* name : {kUncovered, kUnknownFrees}) metrics::remove_counter(name, labels_);
    cards_.clear();
    uncovered_ = 0;
    unknown_frees_ = 0;
}

}  // namespace egpu::agent
