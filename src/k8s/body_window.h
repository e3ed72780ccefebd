// The part of a request's body that is still needed. Bytes are received straight into it; what the
// reader has done with is overwritten by what comes next. Positions count from the body's
// beginning.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace egpu::k8s {

class BodyWindow {
  public:
    static constexpr std::size_t kPiece = 64U << 10;  // fits the cache: read, then looked at

    // Where the next bytes of the body go.
    std::span<char> room() {
        if (kept() <= kPiece / 8 || begin_ >= capacity_ / 2) {
            move_to(bytes_.get());
        } else if (capacity_ - end_ < kPiece) {
            grow();
        }
        if (capacity_ == 0) grow();
        return {bytes_.get() + end_, std::min(kPiece, capacity_ - end_)};
    }
    void filled(std::size_t n) { end_ += n; }
    std::size_t kept() const { return end_ - begin_; }

    const char* end() const { return bytes_.get() + end_; }
    const char* at(std::uint64_t position) const {
        return bytes_.get() + begin_ + (position - position_);
    }
    std::uint64_t position(const char* at) const {
        return position_ + static_cast<std::size_t>(at - bytes_.get()) - begin_;
    }
    // What lies before is not needed any more.
    void keep_from(std::uint64_t position) {
        begin_ += static_cast<std::size_t>(position - position_);
        position_ = position;
    }

    void clear() {
        begin_ = end_ = 0;
        position_ = 0;
        if (capacity_ > kKeptForReuse) {
            bytes_.reset();
            capacity_ = 0;
        }
    }

  private:
    static constexpr std::size_t kKeptForReuse = 64U << 20;

    void move_to(char* where) {
        const std::size_t kept = end_ - begin_;
        if (kept > 0) std::memmove(where, bytes_.get() + begin_, kept);
        begin_ = 0;
        end_ = kept;
    }
    void grow() {
        const std::size_t larger = std::max(2 * kPiece, capacity_ * 2);
        auto bytes = std::make_unique_for_overwrite<char[]>(larger);
        move_to(bytes.get());
        bytes_ = std::move(bytes);
        capacity_ = larger;
    }

    std::unique_ptr<char[]> bytes_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;  // in bytes_; of what is kept
    std::size_t end_ = 0;
    std::uint64_t position_ = 0;  // of begin_ in the body
};

}  // namespace egpu::k8s
