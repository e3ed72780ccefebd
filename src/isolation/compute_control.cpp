#include "isolation/compute_control.h"

#include <functional>

namespace egpu::isolation {

guard::ContainerSample sample_of(
    std::string_view token,
    const Quota& quota,
    const LedgerCopy& ledger,
    std::size_t position,
    const std::optional<guard::Measured>& measured
) {
    const std::uint64_t name = std::hash<std::string_view>{}(token);
    guard::ContainerSample sample;
    sample.id = name;
    sample.mode = quota.cards[position].mode;
    sample.guaranteed = quota.priority == core::GpuPriority::kGuaranteed;
    sample.best_effort = quota.priority == core::GpuPriority::kBestEffort;
    sample.measured = measured;
    sample.share_ppm = quota.cards[position].share_ppm;
    sample.demand_ns = ledger.cards[position].demand_ns;
    sample.throttled_ns = ledger.cards[position].throttled_ns;
    sample.largest_ns = ledger.cards[position].largest_ns;
    for (const ProcessUse& process : ledger.working) {
        sample.processes.push_back(
            {name ^ process.id,
             process.charged_ns[position],
             process.span_ns[position],
             process.span_cost_ns[position]}
        );
    }
    return sample;
}

void apply_control(const guard::ContainerControl& control, guard::DeviceLimits& limits) {
    limits.rate_ppm = control.rate_ppm;
    limits.gain_ppm = control.gain_ppm;
    limits.contention_ppm = control.contention_ppm;
    limits.neighbours = control.neighbours;
    limits.gated = control.gated ? 1 : 0;
}

}  // namespace egpu::isolation
