// The kubelet's questions, answered: one kubelet::DevicePlugin per offered resource over the
// allocator.
//
// GetPreferredAllocation finds out who is under admission (pod-resources List, our view of the
// pods, one short GET for a pod that was not seen yet) and steers the kubelet to the planned card.
// Allocate uses memory and the state file only. PreStartContainer makes sure that the record is
// there and carries the right name. Handlers run on gRPC's threads.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/allocator.h"
#include "agent/kubelet_books.h"
#include "agent/pods_view.h"
#include "base/clock.h"
#include "base/result.h"
#include "kubelet/device_plugin.h"

namespace egpu::agent {

struct DevicePluginsOptions {
    std::filesystem::path folder = "/var/lib/kubelet/device-plugins";
    std::vector<Resource> resources{Resource::kPercent, Resource::kWhole};
    bool one_replica_a_container = false;  // NVIDIA's failRequestsGreaterThanOne
    Duration list_deadline = Millis(250);  // of pod-resources, within GetPreferredAllocation
    Duration fetch_deadline =
        Millis(300);  // of all GETs of pods not seen yet, within GetPreferredAllocation
    Duration pre_start_deadline = Seconds(3);  // the kubelet retries afterwards
};

class DevicePlugins {
  public:
    DevicePlugins(
        DevicePluginsOptions options,
        Allocator& allocator,
        KubeletBooksReader& books,
        PodsView& pods
    );
    ~DevicePlugins();  // stop()
    DevicePlugins(const DevicePlugins&) = delete;
    DevicePlugins& operator=(const DevicePlugins&) = delete;

    // The hook of the allocator. A plugin is started with its first list that is not empty: a
    // resource without devices would only tell the kubelet that the node has none.
    void show(Resource resource, const std::vector<kubelet::Device>& devices);
    // From now on show() starts plugins; what can never work (a socket path that is too long) is
    // logged and shows in states().
    void start();
    void stop();

    std::map<Resource, kubelet::PluginState> states() const;
    int registrations() const;  // of all resources, ever

    // Once, before start(): asked before a container with this record starts; the error keeps it
    // from starting now.
    void set_gate(std::function<Status(const Record&)> gate) { gate_ = std::move(gate); }

    // The handlers, for tests.
    Result<std::vector<std::string>> preferred(
        Resource resource,
        const std::vector<std::string>& available,
        const std::vector<std::string>& must_include,
        int size
    );
    Result<kubelet::AllocateResponse> allocate(
        Resource resource, const std::vector<std::string>& ids
    );
    Status pre_start(Resource resource, const std::vector<std::string>& ids);

  private:
    struct Served {
        std::unique_ptr<kubelet::DevicePlugin> plugin;
        bool started = false;
    };
    void drop_vacated(
        Resource resource,
        const std::vector<std::string>& available,
        const std::vector<std::string>& must_include,
        const std::vector<ListedPod>& listed
    );
    void fetch_unseen(const std::vector<ListedPod>& listed);
    Status identify(Resource resource, const std::vector<std::string>& ids);
    Status check_record(Resource resource, const std::vector<std::string>& ids, bool& known);

    const DevicePluginsOptions options_;
    Allocator& allocator_;
    KubeletBooksReader& books_;
    PodsView& pods_;
    std::function<Status(const Record&)> gate_;

    mutable std::mutex mutex_;  // guards the two below; no handler takes it
    std::map<Resource, Served> served_;
    bool running_ = false;
};

}  // namespace egpu::agent
