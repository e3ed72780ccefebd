// Binder: the one place where a pod gets its cards. Reserve in the ledger, release the
// lock, ONE `POST pods/NAME/binding` that carries node and annotations, then commit; any other
// outcome is settled by reading the pod back and undone when the pod is not bound. Idempotent by
// (UID, node). Thread-safe; binds of different pods run beside each other, those of one pod one
// after the other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/client.h"
#include "k8s/extender.h"
#include "scheduler/gate.h"
#include "scheduler/state.h"

namespace egpu::scheduler {

struct BinderOptions {
    Duration timeout = Seconds(4);  // for the whole bind, reading back included
    bool compat_label = false;      // afterwards write the label nano-gpu/assume=true, best effort
};

class Binder {
  public:
    Binder(State& state, const Gate& gate, k8s::Client client, BinderOptions options);

    // Success only when the API server holds the binding together with our placement. The error's
    // text goes to kube-scheduler and from there into the pod's events.
    Status bind(const k8s::ExtenderBindingArgs& args);

  private:
    class Turn;  // the right to bind one UID
    struct Deadlines {
        TimePoint write;  // for everything before the outcome is known
        TimePoint whole;  // reading back included
    };

    Status bind_when_free(const k8s::ExtenderBindingArgs& args);
    Status bind_in_turn(const k8s::ExtenderBindingArgs& args, const Deadlines& deadlines);
    Result<PodFacts> identify(
        const k8s::ExtenderBindingArgs& args, TimePoint deadline, bool& from_watch
    );
    // Cards for the pod, or why there are none; a pod that asks for none gets an empty placement.
    Reservation reserve(const k8s::ExtenderBindingArgs& args, const PodFacts& pod);
    Result<PodFacts> fetch(const k8s::ExtenderBindingArgs& args, TimePoint deadline);
    Status post(
        const k8s::ExtenderBindingArgs& args,
        const PodFacts& pod,
        const core::Placement& placement,
        const Deadlines& deadlines
    );
    struct Failure {
        Error error;
        int http_code = 0;       // 0: no answer
        bool by_server = false;  // it is the API server's own, not one of what stands before it
    };
    Status settle(
        const k8s::ExtenderBindingArgs& args,
        const PodFacts& pod,
        const core::Placement& placement,
        const Failure& failure,
        TimePoint deadline
    );
    // A pod that is bound already: success when it is what was asked for.
    static Status judge_bound(
        const k8s::ExtenderBindingArgs& args, const std::string& node, bool has_placement
    );
    static Status judge_bound(const k8s::ExtenderBindingArgs& args, const PodFacts& pod);
    bool server_checks_uid(TimePoint deadline);
    void write_label(const k8s::ExtenderBindingArgs& args, TimePoint deadline);

    State& state_;
    const Gate& gate_;
    k8s::Client client_;
    BinderOptions options_;
    enum class UidCheck { kUnknown, kYes, kNo };
    std::atomic<UidCheck> uid_check_{UidCheck::kUnknown};

    std::mutex mutex_;
    std::condition_variable turn_over_;
    std::set<std::string, std::less<>> busy_;  // UIDs being bound
};

}  // namespace egpu::scheduler
