#include "base/backoff.h"

#include <algorithm>

#include "base/random.h"

namespace egpu {

Backoff::Backoff(Duration first, Duration most, std::uint64_t seed)
    : first_(first), most_(most), current_(first), random_(seed) {}

Duration Backoff::next() {
    const Duration delay = current_;
    current_ = std::min(current_ * 2, most_);
    const auto half = delay.count() / 2;
    if (half <= 0) return delay;
    return Duration(
        half +
        static_cast<Duration::rep>(splitmix64(random_) % static_cast<std::uint64_t>(half + 1))
    );
}

void Backoff::reset() {
    current_ = first_;
}

}  // namespace egpu
