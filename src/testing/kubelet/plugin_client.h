// The embedded kubelet's connection to one device plugin: dial-back, options, the device stream and
// the calls. Internal. Thread-safe; calls end when disconnect() is called.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kubelet/types.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::testing {

struct PluginOptions {
    bool pre_start = false;
    bool preferred = false;
};

class PluginClient {
  public:
    // Connects (with the dialect's :authority) until `deadline` or `stop` is set. Errors of the
    // calls read like grpc-go's: "rpc error: code = InvalidArgument desc = …".
    static Result<std::shared_ptr<PluginClient>> dial(
        const std::filesystem::path& socket,
        Dialect dialect,
        Duration deadline,
        const std::atomic<bool>& stop
    );
    ~PluginClient();

    Result<PluginOptions> options(Duration deadline);
    // Blocks: calls `on_devices` for each list until the stream ends.
    void follow(const std::function<void(const std::vector<egpu::kubelet::Device>&)>& on_devices);
    // The protobuf bytes of the one container response.
    Result<std::string> allocate(const std::vector<std::string>& ids);
    Result<std::vector<std::string>> preferred(
        const std::vector<std::string>& available,
        const std::vector<std::string>& must_include,
        int size
    );
    Status pre_start(const std::vector<std::string>& ids, Duration deadline);
    // Ends the stream and the calls; later ones fail.
    void disconnect();
    const std::filesystem::path& socket() const;

  private:
    struct Impl;
    explicit PluginClient(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::testing
