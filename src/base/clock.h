// Time is passed in as a value, so that the same code runs under tests and in virtual time.
// Deadlines are always on the monotonic clock: edge nodes boot without a battery-backed clock.
#pragma once

#include <chrono>

namespace egpu {

using MonoClock = std::chrono::steady_clock;
using TimePoint = MonoClock::time_point;
using Duration = MonoClock::duration;
using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

}  // namespace egpu
