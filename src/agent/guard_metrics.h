// The Prometheus metrics of one limited container, from a copy of its ledger and what was measured.
// The ledger is the container's: counters never go back, and a jump that no card could make is cut.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/guard_watch.h"
#include "agent/record.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "guard/pages.h"
#include "isolation/ledger_copy.h"
#include "isolation/quota.h"

namespace egpu::agent {

class GuardMetrics {
  public:
    // `readable`: `ledger` is what its ledger says now; false counts as tampering.
    void update(
        const Record& record,
        const isolation::Quota& quota,
        const isolation::LedgerCopy& ledger,
        bool readable,
        const std::optional<guard::LimitsBody>& limits,
        const ContainerMeasure& measure,
        TimePoint now
    );
    void forget();  // the container is gone

  private:
    struct Card {
        metrics::Labels labels;
        isolation::CardUsage seen;
        // Time on the card over the last seconds: when, and the total by then (ns).
        std::deque<std::pair<std::uint64_t, double>> busy;
        bool by_nvml = false;
        double measured_ns = 0;
        double charged_ns = 0;
        std::string mode;
    };
    std::vector<metrics::Labels> card_labels() const;
    void update_ledger(Card& card, const isolation::CardUsage& use, double seconds);
    void update_limits(Card& card, const guard::DeviceLimits& limits);
    void update_measure(Card& card, const CardMeasure& measure, TimePoint now);
    void update_container(const isolation::LedgerCopy& ledger, const ContainerMeasure& measure);

    std::vector<Card> cards_;
    metrics::Labels labels_;  // of the container
    std::uint64_t uncovered_ = 0;
    std::uint64_t unknown_frees_ = 0;
    TimePoint last_{};
    bool tampered_ = false;
};

}  // namespace egpu::agent
