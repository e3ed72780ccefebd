// The device list of one resource: versions of a full snapshot that streams wait for. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "kubelet/types.h"

namespace egpu::kubelet {

class DeviceList {
  public:
    struct Snapshot {
        std::uint64_t version = 0;  // 0: nothing was ever set
        std::shared_ptr<const std::vector<Device>> devices;
    };

    // False when it equals the last one. Duplicate IDs are dropped.
    bool set(const std::vector<Device>& devices);
    // The newest snapshot once it is newer than `version`; version 0 after `timeout` or a wake().
    Snapshot wait_newer(std::uint64_t version, Duration timeout);
    // Makes every wait_newer() of now return.
    void wake();

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t version_ = 0;
    std::uint64_t wakes_ = 0;
    std::shared_ptr<const std::vector<Device>> devices_;
};

}  // namespace egpu::kubelet
