#include "sim/evictions.h"

#include <utility>

#include "base/log.h"

namespace egpu::sim {

namespace {

constexpr int kWorkers = 8;

void clear_outranked(PodWriter& writer, const Eviction& eviction) {
    for (const auto& pod : eviction.outranked) writer.clear_nomination(*pod);
}

}  // namespace

Status evict_now(PodWriter& writer, const Eviction& eviction) {
    for (const auto& victim : eviction.victims) {
        EG_TRY_VOID(writer.evict(*victim, *eviction.preemptor, eviction.node));
    }
    clear_outranked(writer, eviction);
    return ok_status();
}

Evictions::Evictions(PodWriter& writer, Callbacks callbacks)
    : writer_(writer), callbacks_(std::move(callbacks)) {
    for (int i = 0; i < kWorkers; ++i) workers_.emplace_back([this] { work(); });
}

Evictions::~Evictions() {
    stop();
}

void Evictions::add(Eviction eviction) {
    {
        const std::scoped_lock lock(mutex_);
        waiting_.push_back(std::move(eviction));
    }
    changed_.notify_one();
}

void Evictions::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) {
        if (worker.joinable()) worker.join();
    }
}

void Evictions::work() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (waiting_.empty()) {
            changed_.wait(lock);
            continue;
        }
        const Eviction eviction = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        run(eviction);
        lock.lock();
    }
}

void Evictions::run(const Eviction& eviction) {
    clear_outranked(writer_, eviction);
    const std::string& uid = eviction.preemptor->uid;
    for (std::size_t i = 0; i < eviction.victims.size(); ++i) {
        const bool last = i + 1 == eviction.victims.size();
        if (last) callbacks_.release(uid);
        const Status done = writer_.evict(*eviction.victims[i], *eviction.preemptor, eviction.node);
        if (done) continue;
        const bool gone = done.error().code == ErrorCode::kNotFound;
        if (gone && !last) continue;
        if (!gone && done.error().code != ErrorCode::kStopped) {
            log::warn(
                "preemption failed",
                {{"pod", eviction.preemptor->key()}, {"why", done.error().message}}
            );
        }
        callbacks_.release(uid);
        callbacks_.activate(uid);
        return;
    }
}

}  // namespace egpu::sim
