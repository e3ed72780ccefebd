#include "gpu/driver_thread.h"

#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace egpu::gpu {

void DriverThread::start(std::function<void()> body) {
    const std::lock_guard lock(mutex_);
    EG_CHECK(!started_);
    started_ = true;
    thread_ = std::thread([this, body = std::move(body)] {
        body();
        const std::lock_guard done(mutex_);
        finished_ = true;
        changed_.notify_all();
    });
}

void DriverThread::tell(const std::function<void()>& callback) {
    const std::lock_guard lock(callback_mutex_);
    if (!closed_) callback();
}

void DriverThread::stop(Duration deadline) {
    {
        const std::lock_guard lock(callback_mutex_);
        closed_ = true;
    }
    std::unique_lock lock(mutex_);
    if (!thread_.joinable()) return;
    const bool finished = changed_.wait_for(lock, deadline, [this] { return finished_; });
    // Of two that stop it at once, one finds it gone here.
    std::thread thread = std::move(thread_);
    lock.unlock();
    if (!thread.joinable()) return;
    if (finished) {
        thread.join();
    } else {
        log::warn("the NVIDIA driver does not answer; its thread is left behind at shutdown");
        thread.detach();
    }
}

}  // namespace egpu::gpu
