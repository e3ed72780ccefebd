#include "scheduler/hand_over.h"

#include <algorithm>

namespace egpu::scheduler {

void HandOver::forget_settled(TimePoint now) {
    while (!departures_.empty() && departures_.front().settled <= now) departures_.pop_front();
}

void HandOver::left(std::string_view node, bool percent, bool whole, TimePoint now) {
    forget_settled(now);
    departures_.push_back({now + settle_, std::string(node), percent, whole});
}

TimePoint HandOver::ready(std::string_view node, const core::PodRequest& request, TimePoint now) {
    forget_settled(now);
    bool percent = false;
    bool whole = false;
    for (const core::ContainerRequest& container : request.containers) {
        (container.resource == core::kResourceWhole ? whole : percent) = true;
    }
    TimePoint ready = now;
    for (const Departure& departure : departures_) {
        if (departure.node != node) continue;
        if ((percent && departure.whole) || (whole && departure.percent)) {
            ready = std::max(ready, departure.settled);
        }
    }
    return ready;
}

}  // namespace egpu::scheduler
