// /metrics (Prometheus text), /healthz (the process answers), /readyz (offered resources are
// registered with the kubelet) and /status (JSON: cards, holders, registration) of the agent. Local
// and read-only.
#pragma once

#include <memory>
#include <string>

#include "agent/allocator.h"
#include "agent/device_plugins.h"
#include "agent/pods_view.h"
#include "base/result.h"
#include "http/server.h"

namespace egpu::agent {

Result<std::unique_ptr<http::Server>> start_http_status(
    const std::string& listen,
    const DevicePlugins& plugins,
    const Allocator& allocator,
    const PodsView& pods
);

}  // namespace egpu::agent
