// Memory for the length of a call, from mmap: the guard does not call the process's allocator.
#pragma once

#include <cstddef>

#include <sys/mman.h>

namespace egpu::guard {

class Scratch {
  public:
    // memory() is nullptr when `bytes` is 0 or there is none.
    explicit Scratch(std::size_t bytes) : bytes_(bytes) {
        if (bytes == 0) return;
        void* memory =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED) memory_ = memory;
    }
    ~Scratch() {
        if (memory_ != nullptr) munmap(memory_, bytes_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    void* memory() const { return memory_; }

  private:
    std::size_t bytes_;
    void* memory_ = nullptr;
};

}  // namespace egpu::guard
