// The embedded kubelet's pod-resources server, v1 and v1alpha1. Internal. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "testing/kubelet/device_state.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::testing {

class PodResourcesServer {
  public:
    // `pods`: those to list. `sources_ready`: whether pods that are not listed are really gone.
    PodResourcesServer(
        const KubeletOptions& options,
        DeviceState& state,
        std::function<std::vector<PodSpec>()> pods,
        std::function<bool()> sources_ready
    );
    ~PodResourcesServer();

    // Listens on <root>/pod-resources/kubelet.sock.
    Status start();
    void stop();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::testing
