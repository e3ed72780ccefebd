#include "sim/scheduling_queue.h"

#include <algorithm>

namespace egpu::sim {

void SchedulingQueue::add(const std::string& uid, std::int64_t priority, TimePoint now) {
    auto [entry, fresh] = entries_.try_emplace(uid);
    entry->second.priority = priority;
    if (!fresh) return;
    entry->second.order = next_order_++;
    entry->second.ready = now;
}

std::optional<std::string> SchedulingQueue::pop(TimePoint now) {
    auto best = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
        const Entry& e = it->second;
        if (e.in_flight || e.held || e.ready > now) continue;
        if (best == entries_.end() || e.priority > best->second.priority ||
            (e.priority == best->second.priority && e.order < best->second.order)) {
            best = it;
        }
    }
    if (best == entries_.end()) return std::nullopt;
    best->second.in_flight = true;
    ++best->second.attempts;
    best->second.events_at_pop = events_;
    return best->first;
}

void SchedulingQueue::failed(const std::string& uid, bool wait_for_event, TimePoint now) {
    const auto found = entries_.find(uid);
    if (found == entries_.end()) return;
    Entry& e = found->second;
    e.in_flight = false;
    e.order = next_order_++;
    Duration delay = times_.backoff_first;
    for (int i = 1; i < e.attempts && delay < times_.backoff_most; ++i) delay *= 2;
    e.backed_off = now + std::min(delay, times_.backoff_most);
    const bool changed_meanwhile = !e.held && e.events_at_pop != events_;
    e.ready = wait_for_event && !changed_meanwhile ? std::max(now + times_.flush, e.backed_off)
                                                   : e.backed_off;
}

void SchedulingQueue::hold(const std::string& uid) {
    const auto found = entries_.find(uid);
    if (found != entries_.end()) found->second.held = true;
}

void SchedulingQueue::release(const std::string& uid) {
    const auto found = entries_.find(uid);
    if (found != entries_.end()) found->second.held = false;
}

void SchedulingQueue::activate(const std::string& uid, TimePoint now) {
    const auto found = entries_.find(uid);
    if (found != entries_.end() && !found->second.in_flight) found->second.ready = now;
}

void SchedulingQueue::cluster_event(TimePoint now) {
    ++events_;
    for (auto& [uid, e] : entries_) {
        if (!e.in_flight && !e.held) e.ready = std::min(e.ready, std::max(e.backed_off, now));
    }
}

std::optional<TimePoint> SchedulingQueue::next_try() const {
    std::optional<TimePoint> out;
    for (const auto& [uid, e] : entries_) {
        if (e.in_flight || e.held) continue;
        if (!out || e.ready < *out) out = e.ready;
    }
    return out;
}

std::size_t SchedulingQueue::in_flight() const {
    return static_cast<std::size_t>(std::count_if(
        entries_.begin(), entries_.end(), [](const auto& item) { return item.second.in_flight; }
    ));
}

int SchedulingQueue::attempts(const std::string& uid) const {
    const auto found = entries_.find(uid);
    return found == entries_.end() ? 0 : found->second.attempts;
}

}  // namespace egpu::sim
