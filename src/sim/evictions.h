// The evictions of kube-scheduler 1.33 and later: beside the scheduling cycles, each preemption on
// its own. The preemptor must not be tried again before its last victim's turn.
//
// Victims go one after another, an order that the real one's calls may take too (it sends all but
// the last at once). Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sim/pod_writer.h"

namespace egpu::sim {

struct Eviction {
    PodWriter::Pod preemptor;
    std::string node;
    std::vector<PodWriter::Pod> victims;    // the most important first; the last one goes last
    std::vector<PodWriter::Pod> outranked;  // less important pods that are nominated to the node
};

// In the caller's thread, as kube-scheduler to 1.32 does in its cycle. Stops at the first error.
Status evict_now(PodWriter& writer, const Eviction& eviction);

class Evictions {
  public:
    // Called from the workers. `release`: the preemptor may be tried again; comes before the last
    // victim's turn, for that one's going wakes the preemptor. `activate`: an eviction failed or
    // the last victim was gone before its turn, no event may ever come: the preemptor has to be
    // tried at once. (After a victim that went by itself the real one may sleep until it flushes
    // its queue.)
    struct Callbacks {
        std::function<void(const std::string& uid)> release;
        std::function<void(const std::string& uid)> activate;
    };

    Evictions(PodWriter& writer, Callbacks callbacks);
    ~Evictions();  // stop()
    Evictions(const Evictions&) = delete;
    Evictions& operator=(const Evictions&) = delete;

    void add(Eviction eviction);
    // What has not begun is dropped. Ends when the calls in flight do.
    void stop();

  private:
    void work();
    void run(const Eviction& eviction);

    PodWriter& writer_;
    const Callbacks callbacks_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Eviction> waiting_;
    bool stopping_ = false;
    std::vector<std::thread> workers_;
};

}  // namespace egpu::sim
