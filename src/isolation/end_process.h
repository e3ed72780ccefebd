// Ends one process, and surely no other.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"

namespace egpu::isolation {

// SIGKILL. The process is held by a descriptor first; then `still_it` is asked whether that PID
// is (still) the process meant, and only then it is sent: a PID that was given to another process
// meanwhile is never hit. kNotFound: it is gone; kConflict: it is not it, or may never be ended
// (PID 1 and this process); kInvalid: the kernel is too old (before 5.3).
Status end_process(unsigned pid, const std::function<bool()>& still_it);

}  // namespace egpu::isolation
