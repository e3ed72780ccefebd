// What State tells about itself: copies for /status, the CLI, tests and a scrape.
#include "base/metrics.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

std::vector<std::string> State::node_names() const {
    const std::lock_guard lock(mutex_);
    return ledger_.node_names();
}

std::optional<core::NodeInfo> State::node(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    return ledger_.node(name);
}

std::optional<core::PodInfo> State::pod(std::string_view uid) const {
    const std::lock_guard lock(mutex_);
    return ledger_.pod(uid);
}

std::optional<core::HostAmounts> State::host_free(std::string_view node) const {
    const std::lock_guard lock(mutex_);
    const auto id = ledger_.find_node(node);
    if (!id) return std::nullopt;
    return ledger_.host_free(*id);
}

std::vector<core::ReservationInfo> State::reservations() const {
    const std::lock_guard lock(mutex_);
    return ledger_.reservations();
}

core::LedgerTotals State::totals() const {
    const std::lock_guard lock(mutex_);
    return ledger_.totals();
}

std::size_t State::pending_count() const {
    const std::lock_guard lock(mutex_);
    return pending_.size();
}

std::vector<std::string> State::check_invariants() const {
    const std::lock_guard lock(mutex_);
    return ledger_.check_invariants();
}

void State::publish_gauges() const {
    const core::LedgerTotals totals = this->totals();
    const auto gauge = [](const char* name, const char* help, double value) {
        metrics::gauge(name, help).set(value);
    };
    gauge("edge_gpu_scheduler_nodes", "GPU nodes known.", static_cast<double>(totals.nodes));
    gauge("edge_gpu_scheduler_cards", "Cards known.", static_cast<double>(totals.cards));
    gauge(
        "edge_gpu_scheduler_cards_healthy",
        "Healthy cards.",
        static_cast<double>(totals.healthy_cards)
    );
    gauge(
        "edge_gpu_scheduler_cards_empty",
        "Healthy cards that nobody holds.",
        static_cast<double>(totals.empty_cards)
    );
    gauge(
        "edge_gpu_scheduler_pods", "Bound pods that hold cards.", static_cast<double>(totals.pods)
    );
    gauge(
        "edge_gpu_scheduler_pods_pending",
        "Unassigned GPU pods.",
        static_cast<double>(pending_count())
    );
    gauge(
        "edge_gpu_scheduler_pods_unplaced",
        "Bound pods without a valid placement.",
        static_cast<double>(totals.unplaced_pods)
    );
    gauge(
        "edge_gpu_scheduler_reservations",
        "Binds in flight or in doubt.",
        static_cast<double>(totals.reservations)
    );
    const core::LiveTotals policy = policy_totals();
    gauge(
        "edge_gpu_scheduler_policy_arrivals",
        "Pods that the policies have learned from.",
        static_cast<double>(policy.arrivals)
    );
    gauge(
        "edge_gpu_scheduler_policy_shapes",
        "Different shapes of pods among them.",
        static_cast<double>(policy.shapes)
    );
    gauge(
        "edge_gpu_scheduler_policy_refreshes",
        "How often the expected demand or the prices were computed anew.",
        static_cast<double>(policy.refreshes)
    );
    gauge(
        "edge_gpu_scheduler_policy_cold_questions",
        "Priorities answered from some of the nodes, for a shape asked for the first time.",
        static_cast<double>(policy.cold_questions)
    );
    gauge(
        "edge_gpu_scheduler_used_percent",
        "Percent used, summed over all cards.",
        static_cast<double>(totals.used_percent)
    );
}

}  // namespace egpu::scheduler
