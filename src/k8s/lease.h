// LeaderElector: one writer at a time, by a coordination.k8s.io/v1 Lease as client-go does it.
// Another holder's expiry is judged by the local time at which its lease was last seen to change,
// never by remote clocks. Leadership ends by itself when it could not be renewed for
// renew_deadline. Own thread; callbacks run on it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "k8s/client.h"

namespace egpu::k8s {

struct LeaseOptions {
    std::string ns = "kube-system";
    std::string name = {};
    std::string identity = {};  // unique per process
    // lease > renew > 1.2 x retry, else start() refuses. Fail-over after a crash takes lease +
    // retry at most; after an orderly stop, retry.
    Duration lease = Seconds(15);
    Duration renew = Seconds(10);
    Duration retry = Seconds(2);
    bool release_on_stop = true;
};

struct LeaseCallbacks {
    std::function<void()> on_started = {};  // became leader
    std::function<void()> on_stopped = {};  // is it no longer
    std::function<void(const std::string& holder)> on_new_leader =
        {};  // somebody (also us) holds it now
};

class LeaderElector {
  public:
    LeaderElector(Client client, LeaseOptions options, LeaseCallbacks callbacks = {});
    ~LeaderElector();  // stop()
    LeaderElector(const LeaderElector&) = delete;
    LeaderElector& operator=(const LeaderElector&) = delete;

    Status start();  // kInvalid for impossible durations or missing names
    // Gives the lease back (when leader and release_on_stop) and ends the thread. Idempotent.
    void stop();

    // True only while the last successful renewal is younger than renew_deadline, even when the
    // thread is stuck: safe to ask right before a write.
    bool is_leader() const;
    // Nobody else can hold the lease before this time: a write that needs leadership must be over
    // by then. In the past while this one does not lead.
    TimePoint held_until() const;
    std::string holder() const;  // last seen holder, "" when unknown

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::k8s
