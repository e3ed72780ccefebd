// The embedded kubelet's registration server and the connections that follow from it, with each
// dialect's order of steps and its bugs. Internal. Thread-safe.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "base/result.h"
#include "testing/kubelet/device_state.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::testing {

class PluginHub {
  public:
    // `changed` is called after every change of what plugins offer.
    PluginHub(const KubeletOptions& options, DeviceState& state, std::function<void()> changed);
    ~PluginHub();

    // Listens on <root>/device-plugins/kubelet.sock.
    Status start();
    // Ends all connections, without any effect on the state. Idempotent.
    void stop();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::testing
