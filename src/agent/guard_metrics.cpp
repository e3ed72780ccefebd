#include "agent/guard_metrics.h"

#include <algorithm>

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

constexpr double kMostLaunchesPerSecond = 10e6;
constexpr double kMostThreads = 1024;  // held back at once

// What a counter of the ledger rose by; it starts anew when the process that held it has ended.
double rise(std::uint64_t before, std::uint64_t after, double most) {
    const std::uint64_t by = after >= before ? after - before : after;
    return std::min(static_cast<double>(by), most);
}

}  // namespace

void GuardMetrics::update(
    const Record& record,
    const isolation::Quota& quota,
    const Result<isolation::LedgerCopy>& copy,
    TimePoint now
) {
    if (record.holder.pod_name.empty()) return;  // named a moment later
    const double seconds =
        last_ == TimePoint{} ? 1.0 : std::chrono::duration<double>(now - last_).count();
    last_ = now;
    const std::size_t count = std::min(quota.cards.size(), record.cards.size());
    if (cards_.size() != count) {
        forget();
        for (std::size_t i = 0; i < count; ++i) {
            cards_.push_back(
                {{{"namespace", record.holder.pod_namespace},
                  {"pod", record.holder.pod_name},
                  {"container", record.holder.container},
                  {"card", std::to_string(record.cards[i].index)}},
                 {}}
            );
        }
    }
    if (!copy.ok() && !tampered_ && !cards_.empty()) {
        metrics::counter(kTampered, "Ledgers found unreadable.", cards_.front().labels).add();
    }
    tampered_ = !copy.ok();
    for (std::size_t i = 0; i < count; ++i) {
        Card& card = cards_[i];
        const isolation::CardQuota& limits = quota.cards[i];
        if (limits.memory_bytes != guard::kUnlimited) {
            metrics::gauge(kLimit, "Memory the container may use.", card.labels)
                .set(static_cast<double>(limits.memory_bytes));
        }
        metrics::gauge(kShare, "Part of the card's time the container may use.", card.labels)
            .set(static_cast<double>(limits.share_ppm) / guard::kWholePpm);
        if (!copy.ok()) continue;
        const isolation::CardUsage& use = copy->cards[i];
        metrics::gauge(kUsed, "Memory that the guard has charged.", card.labels)
            .set(static_cast<double>(use.used_bytes));
        metrics::gauge(kPeak, "The most memory that the guard has charged.", card.labels)
            .set(static_cast<double>(use.peak_bytes));
        const double most = kMostLaunchesPerSecond * std::max(seconds, 0.1);
        metrics::counter(kRefused, "Allocations refused for the quota.", card.labels)
            .add(rise(card.seen.refused, use.refused, most));
        metrics::counter(kLaunches, "Launches charged.", card.labels)
            .add(rise(card.seen.launches, use.launches, most));
        metrics::counter(kBusy, "GPU time charged.", card.labels)
            .add(rise(card.seen.charged_ns, use.charged_ns, 2e9 * std::max(seconds, 1.0)) / 1e9);
        metrics::counter(kThrottled, "Time that launches were held back.", card.labels)
            .add(
                rise(
                    card.seen.throttled_ns,
                    use.throttled_ns,
                    kMostThreads * 1e9 * std::max(seconds, 1.0)
                ) /
                1e9
            );
        card.seen = use;
    }
}

void GuardMetrics::forget() {
    for (const Card& card : cards_) {
        for (const char* name : {kUsed, kPeak, kLimit, kShare}) {
            metrics::remove_gauge(name, card.labels);
        }
        for (const char* name : {kRefused, kLaunches, kBusy, kThrottled, kTampered}) {
            metrics::remove_counter(name, card.labels);
        }
    }
    cards_.clear();
}

}  // namespace egpu::agent
