// The order in which pods are tried: by priority, then age; after a failure they wait for a cluster
// event and back off (kube-scheduler's active, back-off and unschedulable queues in one). Pure: the
// time is passed in. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"

namespace egpu::sim {

struct QueueTimes {
    Duration backoff_first = Seconds(1);
    Duration backoff_most = Seconds(10);
    Duration flush = Seconds(60);  // tried again after so long without any event
};

class SchedulingQueue {
  public:
    explicit SchedulingQueue(QueueTimes times) : times_(times) {}

    // No effect on a pod that is in the queue already, beside its priority.
    void add(const std::string& uid, std::int64_t priority, TimePoint now);
    void remove(const std::string& uid) { entries_.erase(uid); }
    bool contains(const std::string& uid) const { return entries_.contains(uid); }

    // The next pod that may be tried now. It stays in the queue, in flight, until failed() or
    // remove().
    std::optional<std::string> pop(TimePoint now);
    // The attempt failed. `wait_for_event`: it makes no sense to try before something changed
    // (unless something did while it was tried).
    void failed(const std::string& uid, bool wait_for_event, TimePoint now);
    // Not tried before release(), whatever happens meanwhile: its preemption is under way.
    void hold(const std::string& uid);
    void release(const std::string& uid);
    // May be tried at once, without waiting for an event or backing off.
    void activate(const std::string& uid, TimePoint now);
    // Something changed that may make room.
    void cluster_event(TimePoint now);

    // When pop() may have something: at once (a past time), later, or never without an event.
    std::optional<TimePoint> next_try() const;
    std::size_t size() const { return entries_.size(); }
    std::size_t in_flight() const;
    int attempts(const std::string& uid) const;

  private:
    struct Entry {
        std::int64_t priority = 0;
        std::uint64_t order = 0;
        int attempts = 0;
        bool in_flight = false;
        bool held = false;
        TimePoint ready{};       // not before this
        TimePoint backed_off{};  // an event makes it ready at this time
        std::uint64_t events_at_pop = 0;
    };

    QueueTimes times_;
    std::map<std::string, Entry> entries_;
    std::uint64_t next_order_ = 0;
    std::uint64_t events_ = 0;
};

}  // namespace egpu::sim
