// One stretch of time with an open NVML: enumeration rounds and the event registrations that go
// with them.
//
// Events map to GPUs by the handle given at registration, so nothing has to be asked of a GPU that
// just died. Used by the monitor's thread only.
#pragma once

#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/stop.h"
#include "gpu/health.h"
#include "gpu/inventory.h"
#include "gpu/nvml.h"

namespace egpu::gpu {

class Session {
  public:
    Session(const Nvml& nvml, const EnumerateOptions& options) : nvml_(nvml), options_(options) {}
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Enumerates, and registers events anew when the GPUs changed. Errors as enumerate().
    Result<Enumeration> look(std::span<const CardInfo> known);
    // False: the driver has no events for any GPU, polls are all there is.
    bool has_events() const { return registered_ > 0; }

    enum class News { kNone, kLookSoon, kLookNow };
    // Waits for one event, the stop or `slice`; tells `board` about it.
    News wait(Duration slice, const StopToken& stop, HealthBoard& board);

  private:
    void register_all();
    void drop_events();
    News handle(const nvml::EventData& event, HealthBoard& board) const;

    const Nvml& nvml_;
    const EnumerateOptions& options_;
    std::vector<PhysicalGpu> gpus_;
    nvml::EventSet set_ = nullptr;
    int registered_ = 0;
    bool wait_failed_ = false;  // until the next look
};

}  // namespace egpu::gpu
