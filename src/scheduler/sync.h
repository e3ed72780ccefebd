// Sync: keeps State equal to the API server's nodes and pods (two reflectors), and settles what the
// watches cannot: the last leader's writes, binds in doubt, pods bound but never shown. Annotations
// that are not believed get an Event on the pod. Nothing is released for deletionTimestamp, for a
// NotReady node, or because a list failed.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "base/stop.h"
#include "k8s/client.h"
#include "k8s/events.h"
#include "k8s/watch.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

class Sync {
  public:
    // `events` may be nullptr.
    Sync(State& state, k8s::Client client, k8s::EventRecorder* events);
    ~Sync();  // stop()
    Sync(const Sync&) = delete;
    Sync& operator=(const Sync&) = delete;

    void start();
    void stop();

    bool synced() const;
    std::string last_error() const;  // "" while the API server can be read

    // Reads all pods afresh and consistently, so that what a former leader wrote is accounted for
    // before this one binds. Takes as long as a list of all pods.
    Status read_pods_now(TimePoint deadline, const StopToken& stop);

  private:
    void on_pod(const json::value& object, State::Source source);
    void on_node(const json::value& object);
    void note_problem(const std::string& node, const std::string& problem);
    void report(const PodFacts& pod);
    void housekeeping();
    void look_up(const UnconfirmedPod& pod);

    State& state_;
    k8s::Client client_;
    k8s::EventRecorder* events_;
    std::unique_ptr<k8s::Reflector> nodes_;
    std::unique_ptr<k8s::Reflector> pods_;
    StopSource stop_;
    std::thread housekeeper_;
    std::map<std::string, std::string> node_problems_;  // the nodes' reflector's own
    std::mutex reported_mutex_;
    std::set<std::string> reported_;  // UIDs with an Event about their annotations
};

}  // namespace egpu::scheduler
