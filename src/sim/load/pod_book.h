// Which pods of the load wait and which run, and when the next ones come and go. Makes and ends
// them in the embedded API server. Thread-safe, but fill() and live() belong to one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "sim/load/objects.h"
#include "sim/load/settings.h"
#include "testing/apiserver/api_server.h"

namespace egpu::sim::load {

struct Waiting {
    PodPlan plan;
    std::string uid;
    std::string text;        // the pod as JSON
    TimePoint arrived;       // when it was due, which is not always when it was made
    TimePoint not_before{};  // after a failed attempt
    int tries = 0;
};

class PodBook {
  public:
    PodBook(const Settings& settings, testing::ApiServer& api);

    // Pods that run already, placed best-fit, up to the fill level. Before the scheduler starts.
    void fill();
    // Makes pods that are due and ends some when the cluster is full; to be called often. `last`:
    // no new ones any more.
    void live(TimePoint now, bool last);

    std::optional<Waiting> next(TimePoint now);
    void bound(Waiting pod);
    // Tried again later; after many attempts it is deleted, as its owner would.
    void failed(Waiting pod, TimePoint now);

    std::size_t running() const;
    std::size_t waiting() const;  // those being bound included
    std::uint64_t given_up() const;

  private:
    struct Running {
        std::string name;
        int percent = 0;
    };

    void make(TimePoint due);
    void end_some();

    const Settings& settings_;
    testing::ApiServer& api_;
    Random random_;  // with the next two, of the thread that calls live()
    std::uint64_t made_ = 0;
    TimePoint next_arrival_{};
    mutable std::mutex mutex_;
    std::deque<Waiting> queue_;
    std::size_t open_ = 0;  // made, not yet bound or given up
    std::vector<Running> running_;
    std::int64_t used_percent_ = 0;
    std::uint64_t given_up_ = 0;
};

}  // namespace egpu::sim::load
