// The Prometheus metrics of one limited container, from a copy of its ledger. The ledger is the
// container's: counters never go back, and a jump that no card could make is cut.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "agent/record.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "isolation/ledger_copy.h"
#include "isolation/quota.h"

namespace egpu::agent {

class GuardMetrics {
  public:
    // An error in `copy` counts as tampering.
    void update(
        const Record& record,
        const isolation::Quota& quota,
        const Result<isolation::LedgerCopy>& copy,
        TimePoint now
    );
    void forget();  // the container is gone

  private:
    struct Card {
        metrics::Labels labels;
        isolation::CardUsage seen;
    };
    std::vector<Card> cards_;
    TimePoint last_{};
    bool tampered_ = false;
};

}  // namespace egpu::agent
