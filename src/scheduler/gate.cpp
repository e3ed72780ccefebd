#include "scheduler/gate.h"

namespace egpu::scheduler {

void Gate::open(GateProbes probes) {
    const std::lock_guard lock(mutex_);
    probes_ = std::move(probes);
}

GateProbes Gate::probes() const {
    const std::lock_guard lock(mutex_);
    if (probes_) return *probes_;
    GateProbes closed;
    closed.synced = [] { return false; };
    return closed;
}

std::string Gate::api_error() const {
    const GateProbes probes = this->probes();
    return probes.api_error ? probes.api_error() : std::string();
}

std::optional<std::string> Gate::refuses_answers() const {
    const GateProbes probes = this->probes();
    if (!probes.synced || probes.synced()) return std::nullopt;
    std::string reason = "edge-gpu scheduler has not read the cluster's nodes and pods yet";
    const std::string error = probes.api_error ? probes.api_error() : std::string();
    if (!error.empty()) reason += ": API server: " + error;
    return reason;
}

std::optional<std::string> Gate::refuses_binds() const {
    if (stopping()) return "edge-gpu scheduler is shutting down";
    if (auto reason = refuses_answers()) return reason;
    const GateProbes probes = this->probes();
    if (!probes.leading || probes.leading()) return std::nullopt;
    const std::string leader = probes.leader ? probes.leader() : std::string();
    return "this edge-gpu scheduler is not the leader" +
           (leader.empty() ? std::string() : " (the leader is " + leader + ")");
}

TimePoint Gate::binds_until() const {
    const GateProbes probes = this->probes();
    return probes.held_until ? probes.held_until() : TimePoint::max();
}

}  // namespace egpu::scheduler
