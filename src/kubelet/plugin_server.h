// One incarnation of a device plugin's gRPC server: one socket, its streams and calls. Internal;
// DevicePlugin decides when a new one is needed. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/result.h"
#include "kubelet/device_list.h"
#include "kubelet/device_plugin.h"

namespace egpu::kubelet {

class PluginServer {
  public:
    struct Streams {
        std::uint64_t opened = 0;  // ever
        int open = 0;              // now
    };

    // Accepts calls when it returns. `handlers` and `devices` must outlive it; `stream_changed` is
    // called on gRPC's threads when a stream opens or ends.
    static Result<std::unique_ptr<PluginServer>> serve(
        const std::filesystem::path& socket,
        const std::string& resource,
        const DevicePluginHandlers& handlers,
        DeviceList& devices,
        std::function<void()> stream_changed
    );
    // Ends the streams and refuses new calls; waits for running handlers; removes the socket.
    ~PluginServer();
    PluginServer(const PluginServer&) = delete;
    PluginServer& operator=(const PluginServer&) = delete;

    Streams streams() const;

  private:
    struct Impl;
    explicit PluginServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::kubelet
