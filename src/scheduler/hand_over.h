// HandOver: how long a bind waits when cards of its node may go from one resource to the other.
//
// An agent withdraws a card that is used through nvidia.com/gpu from nano-gpu/gpu-percent, and the
// other way round. When a pod ends, the agent offers the card again by the same event by which the
// scheduler frees it; a kubelet that is shown the next pod before it has heard of that fails the
// pod (UnexpectedAdmissionError), and does not try again. From the event to the next pod's
// admission kube-scheduler can need no more than 10 ms (measured), so the bind leaves the agent
// some time. Pure, not thread-safe.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "core/request.h"

namespace egpu::scheduler {

class HandOver {
  public:
    explicit HandOver(Duration settle) : settle_(settle) {}

    // A pod that held cards of `node` through these resources has ended.
    void left(std::string_view node, bool percent, bool whole, TimePoint now);
    // When a pod with this request may be shown to the node; not later than `now` when nothing that
    // left a moment ago used the other resource.
    TimePoint ready(std::string_view node, const core::PodRequest& request, TimePoint now);

  private:
    struct Departure {
        TimePoint settled;
        std::string node;
        bool percent = false;
        bool whole = false;
    };
    void forget_settled(TimePoint now);

    Duration settle_;
    std::deque<Departure> departures_;  // in order of time
};

}  // namespace egpu::scheduler
