// Pods that come and go at random, as users and controllers make them: shares of all sizes, several
// containers, init containers and sidecars, whole cards, jobs that end. What failed is deleted, as
// a controller's replacement would. Replayable decisions: they come from one seed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "base/random.h"
#include "base/stop.h"
#include "sim/cluster.h"

namespace egpu::e2e {

class Churn {
  public:
    // Keeps up to `most` pods alive through the API server's C++ calls, which faults do not touch.
    Churn(sim::Cluster& cluster, std::uint64_t seed, std::size_t most);
    ~Churn();
    Churn(const Churn&) = delete;
    Churn& operator=(const Churn&) = delete;

    // No pod is made or deleted between pause() and resume(); both may be called repeatedly.
    void pause();
    void resume();
    std::uint64_t created() const;
    std::uint64_t deleted() const;

  private:
    void run();
    void step();
    void create();
    void remove_one(const std::vector<json::value>& pods);

    sim::Cluster& cluster_;
    const std::size_t most_;
    Random random_;  // of the thread only

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool paused_ = false;
    bool busy_ = false;
    bool stopping_ = false;
    std::uint64_t created_ = 0;
    std::uint64_t deleted_ = 0;
    std::thread thread_;
};

// A random pod manifest.
json::value random_pod(Random& random, const std::string& name);

}  // namespace egpu::e2e
