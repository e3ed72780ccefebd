// A lock that nobody waits for: after a short spin the work is skipped.
#pragma once

#include <atomic>
#include <cstdint>

namespace egpu::guard {

// True while it holds the lock. What it guards is measurement, which may be skipped any time.
class [[nodiscard]] Locked {
  public:
    explicit Locked(std::atomic<std::uint32_t>& word) : word_(word) {
        for (int i = 0; i < 2000; ++i) {
            if (word_.load(std::memory_order_relaxed) == 0 &&
                word_.exchange(1, std::memory_order_acquire) == 0) {
                held_ = true;
                return;
            }
        }
    }
    ~Locked() {
        if (held_) word_.store(0, std::memory_order_release);
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    explicit operator bool() const { return held_; }

  private:
    std::atomic<std::uint32_t>& word_;
    bool held_ = false;
};

}  // namespace egpu::guard
