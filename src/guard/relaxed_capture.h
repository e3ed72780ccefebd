// A capture in mode "global" is broken by any unsafe call (to query an event, to wait for a
// stream), by whatever thread. The program did not make those that the guard makes: during them the
// thread is in the mode in which it may.
#pragma once

#include "guard/compute_hooks.h"
#include "guard/driver.h"

namespace egpu::guard {

class RelaxedCapture {
  public:
    RelaxedCapture() {
        if (!anything_captures()) [[likely]]
            return;
        mode_ = cuda::CU_STREAM_CAPTURE_MODE_RELAXED;
        changed_ = driver.ThreadExchangeStreamCaptureMode(&mode_) == cuda::CUDA_SUCCESS;
    }
    ~RelaxedCapture() {
        if (changed_) driver.ThreadExchangeStreamCaptureMode(&mode_);
    }
    RelaxedCapture(const RelaxedCapture&) = delete;
    RelaxedCapture& operator=(const RelaxedCapture&) = delete;

  private:
    int mode_ = 0;
    bool changed_ = false;
};

}  // namespace egpu::guard
