// Asks the kubelet which container holds which devices.
//
// Contract: podresources v1 List, v1alpha1 where v1 is not served, on
// <kubelet root>/pod-resources/kubelet.sock. Plain init containers are not listed and there is no
// pod UID: the checkpoint has both. Thread-safe; the connection is kept between calls.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kubelet/types.h"

namespace egpu::kubelet {

class PodResourcesClient {
  public:
    explicit PodResourcesClient(
        const std::filesystem::path& socket = "/var/lib/kubelet/pod-resources/kubelet.sock"
    );
    ~PodResourcesClient();
    PodResourcesClient(const PodResourcesClient&) = delete;
    PodResourcesClient& operator=(const PodResourcesClient&) = delete;

    // The kubelet's one entry per device ID is joined to one per container and resource.
    // kUnavailable: no kubelet; kDeadline; kExhausted: still rate limited (1.29+: 100 a second) at
    // the deadline. Never call it from inside Allocate.
    Result<std::vector<PodResources>> list(TimePoint deadline);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::kubelet
