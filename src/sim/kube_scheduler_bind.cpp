// Binding, beside the next pod's cycle.
#include "sim/kube_scheduler_impl.h"

namespace egpu::sim {

void KubeScheduler::Impl::bind_loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (binds_.empty()) {
            changed_.wait(lock);
            continue;
        }
        const auto [pod, node] = std::move(binds_.front());
        binds_.pop_front();
        lock.unlock();
        const Status bound = bind(*pod, node);
        if (bound) {
            writer_.scheduled(*pod, node);
        } else {
            unbind(pod, bound.error());
        }
        lock.lock();
        if (bound) ++stats_.bound;
    }
}

Status KubeScheduler::Impl::bind(const SchedPod& pod, const std::string& node) {
    if (extender_->interested(pod)) return extender_->bind(pod, node);
    return writer_.bind(pod, node);
}

void KubeScheduler::Impl::unbind(const Pod& pod, const Error& error) {
    {
        const std::scoped_lock lock(mutex_);
        ++stats_.bind_errors;
        cache_.forget(pod->uid);
        // What it had assumed is free again.
        queue_.cluster_event(MonoClock::now());
    }
    Failure failure = scheduler_error("binding rejected: " + error.message);
    failure.reason = "SchedulerError";
    attempt_failed(pod, std::move(failure));
}

}  // namespace egpu::sim
