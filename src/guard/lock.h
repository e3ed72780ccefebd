// A lock between threads of one process, in constant-initialised memory and without any library: 4
// bytes, a futex when it is contended. Never in memory that processes share: nobody there waits for
// anyone.
#pragma once

#include <atomic>
#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace egpu::guard {

class Lock {
  public:
    void lock() {
        std::uint32_t expected = 0;
        if (word_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) return;
        for (int i = 0; i < 64; ++i) {
            expected = 0;
            if (word_.load(std::memory_order_relaxed) == 0 &&
                word_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) {
                return;
            }
        }
        while (word_.exchange(2, std::memory_order_acquire) != 0) {
            syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, 2, nullptr, nullptr, 0);
        }
    }
    bool try_lock() {
        std::uint32_t expected = 0;
        return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire);
    }
    void unlock() {
        if (word_.exchange(0, std::memory_order_release) == 2) {
            syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        }
    }
    // In the child of a fork, where no other thread exists.
    void reset() { word_.store(0, std::memory_order_relaxed); }

  private:
    std::atomic<std::uint32_t> word_{0};
};

class Held {
  public:
    explicit Held(Lock& lock) : lock_(lock) { lock_.lock(); }
    ~Held() { lock_.unlock(); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

  private:
    Lock& lock_;
};

}  // namespace egpu::guard
