// A kubelet, a device plugin and what passed between them, for tests: a temporary root, a plugin
// whose handlers record their calls and can be told to fail or wait.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <time.h>

#include "kubelet/device_plugin.h"
#include "testing/kubelet/kubelet.h"
#include "testing/temp_folder.h"

namespace egpu::testing {

// What the handlers saw. Answers one environment variable, mount and device node per allocation.
class Recorder {
  public:
    using Ids = std::vector<std::string>;

    egpu::kubelet::DevicePluginHandlers handlers(bool preferred = true, bool pre_start = true) {
        egpu::kubelet::DevicePluginHandlers out;
        if (preferred) {
            out.preferred = [this](const Ids& available, const Ids& must, int size) {
                return on_preferred(available, must, size);
            };
        }
        out.allocate = [this](const Ids& ids) { return on_allocate(ids); };
        if (pre_start) out.pre_start = [this](const Ids& ids) { return on_pre_start(ids); };
        return out;
    }

    std::vector<Ids> allocations() const { return copy(allocations_); }
    std::vector<Ids> starts() const { return copy(starts_); }
    std::vector<Ids> asked_available() const { return copy(asked_); }

    // Set before the calls come; called without the lock.
    std::function<Result<Ids>(const Ids& available, const Ids& must, int size)> prefer{};
    std::function<Status(const Ids&)> before_allocate{};
    std::function<Status(const Ids&)> before_start{};

  private:
    std::vector<Ids> copy(const std::vector<Ids>& from) const {
        const std::scoped_lock lock(mutex_);
        return from;
    }

    Result<Ids> on_preferred(const Ids& available, const Ids& must, int size) {
        {
            const std::scoped_lock lock(mutex_);
            asked_.push_back(available);
        }
        if (prefer) return prefer(available, must, size);
        Ids sorted = available;
        std::sort(sorted.begin(), sorted.end());
        sorted.resize(std::min(sorted.size(), static_cast<std::size_t>(size)));
        return sorted;
    }

    Result<egpu::kubelet::AllocateResponse> on_allocate(Ids ids) {
        std::sort(ids.begin(), ids.end());
        std::size_t number = 0;
        {
            const std::scoped_lock lock(mutex_);
            allocations_.push_back(ids);
            number = allocations_.size();
        }
        if (before_allocate) EG_TRY_VOID(before_allocate(ids));
        egpu::kubelet::AllocateResponse answer;
        answer.envs = {{"TOKEN", std::to_string(number)}, {"SHARED", "plugin"}};
        answer.mounts = {{"/in", "/out", true}};
        answer.devices = {{"/dev/a", "/dev/b", "rw"}};
        answer.annotations = {{"k", "v"}};
        answer.cdi_names = {"edge-gpu.io/gpu=" + ids.front()};
        return answer;
    }

    Status on_pre_start(Ids ids) {
        std::sort(ids.begin(), ids.end());
        {
            const std::scoped_lock lock(mutex_);
            starts_.push_back(ids);
        }
        return before_start ? before_start(ids) : Status();
    }

    mutable std::mutex mutex_;
    std::vector<Ids> allocations_;
    std::vector<Ids> starts_;
    std::vector<Ids> asked_;
};

// "dev-000", "dev-001", …
inline std::vector<egpu::kubelet::Device> make_devices(int count) {
    std::vector<egpu::kubelet::Device> devices;
    for (int i = 0; i < count; ++i) {
        std::string number = std::to_string(i);
        number.insert(0, number.size() < 3 ? 3 - number.size() : 0, '0');
        devices.push_back({.id = "dev-" + number});
    }
    return devices;
}

inline PodSpec one_container(const std::string& uid, const std::string& resource, int units) {
    PodSpec pod;
    pod.uid = uid;
    pod.name = "pod-" + uid;
    pod.containers.push_back({.name = "main"});
    if (!resource.empty()) pod.containers[0].limits[resource] = units;
    return pod;
}

class Rig {
  public:
    static constexpr const char* kResource = "nano-gpu/gpu-percent";

    explicit Rig(Dialect dialect, std::function<void(KubeletOptions&)> change = {}) {
        KubeletOptions options;
        options.root = folder_.path();
        options.dialect = dialect;
        options.sources_ready = Millis(20);
        options.sync_retry = Millis(20);
        options.restart_delay = Millis(1);
        options.gc_tick = Millis(10);
        if (change) change(options);
        kubelet_ = std::make_unique<Kubelet>(options);
    }
    ~Rig() {
        plugin_.reset();
        kubelet_.reset();
    }

    Kubelet& kubelet() { return *kubelet_; }
    Recorder& calls() { return calls_; }
    egpu::kubelet::DevicePlugin& plugin() { return *plugin_; }
    const std::filesystem::path& root() const { return folder_.path(); }

    egpu::kubelet::DevicePluginOptions plugin_options() const {
        egpu::kubelet::DevicePluginOptions options;
        options.resource = kResource;
        options.folder = kubelet_->plugin_folder();
        options.socket_prefix = "edge-gpu-percent";
        options.rescan = Millis(200);
        return options;
    }
    // A new incarnation; the one before, if any, is stopped first.
    Status start_plugin(
        const std::vector<egpu::kubelet::Device>& devices,
        std::function<void(egpu::kubelet::DevicePluginOptions&)> change = {},
        bool preferred = true
    ) {
        plugin_.reset();
        auto options = plugin_options();
        if (change) change(options);
        plugin_ =
            std::make_unique<egpu::kubelet::DevicePlugin>(options, calls_.handlers(preferred));
        plugin_->set_devices(devices);
        return plugin_->start();
    }
    void stop_plugin() { plugin_.reset(); }

    // Everything up, `count` devices allocatable.
    bool up(int count) {
        return kubelet_->start() && kubelet_->wait_synced(Seconds(10)) &&
               start_plugin(make_devices(count)) && offered(count);
    }
    bool offered(int count) { return kubelet_->wait_allocatable(kResource, count, Seconds(10)); }
    bool runs(const std::string& uid) {
        return kubelet_->wait_pod(
            uid, [](const PodStatus& pod) { return pod.phase == PodPhase::kRunning; }, Seconds(10)
        );
    }

  private:
    TempFolder folder_;
    Recorder calls_;
    std::unique_ptr<Kubelet> kubelet_;
    std::unique_ptr<egpu::kubelet::DevicePlugin> plugin_;
};

// Polls `done` every millisecond. False after `timeout`.
inline bool eventually(const std::function<bool()>& done, Duration timeout = Seconds(10)) {
    const auto until = MonoClock::now() + timeout;
    while (!done()) {
        if (MonoClock::now() >= until) return false;
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
    return true;
}

}  // namespace egpu::testing
