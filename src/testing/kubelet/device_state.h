// The embedded kubelet's account of devices: what plugins offer, which container holds what, the
// checkpoint. The rules (and bugs) of the kubelet's own device accounting in both dialects.
// Internal. Thread-safe; no lock is held during a call of a plugin. One object per kubelet process:
// a restart makes a new one from the checkpoint.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "kubelet/types.h"
#include "testing/kubelet/kubelet.h"
#include "testing/kubelet/plugin_client.h"

namespace egpu::testing {

using IdSet = std::set<std::string>;

class DeviceState {
  public:
    struct Holding {                     // of one container and resource
        std::map<std::string, int> ids;  // device -> NUMA node, -1 for none
        std::string response;            // protobuf ContainerAllocateResponse
    };
    using ByResource = std::map<std::string, Holding>;
    struct Given {
        std::map<std::string, std::vector<std::string>> ids;
        egpu::kubelet::AllocateResponse response;
    };

    // `active` names the UIDs of pods that may hold devices; it is called with the lock held.
    DeviceState(const KubeletOptions& options, std::function<std::set<std::string>()> active);

    // Known resources come back with no devices until their plugin registers. A missing or corrupt
    // file is an empty state.
    void load();

    // Plugin side.
    void endpoint_added(
        const std::string& resource, std::shared_ptr<PluginClient> client, PluginOptions options
    );
    // 1.21 passes the client whose stream ended; 1.34 none: whoever holds the name now.
    void endpoint_gone(const std::string& resource, const PluginClient* only = nullptr);
    void devices_updated(
        const std::string& resource, const std::vector<egpu::kubelet::Device>& devices
    );
    // Forgets resources whose plugin is gone for too long. True when one was.
    bool expire();

    // Admission of one container; init containers have to come first.
    Status allocate(
        const PodSpec& pod, const ContainerSpec& container, bool sources_ready, bool was_running
    );
    // Before each start of a container: PreStartContainer, then what it is given.
    Result<Given> run_options(const PodSpec& pod, const ContainerSpec& container);
    // Frees what inactive pods hold.
    void update_allocated(bool sources_ready);

    ByResource holdings(const std::string& uid, const std::string& container) const;
    std::map<std::string, std::map<std::string, int>> all_devices() const;  // healthy: id -> NUMA
    void count(
        std::map<std::string, std::int64_t>& capacity, std::map<std::string, std::int64_t>& healthy
    ) const;

  private:
    struct Resource {
        std::map<std::string, int> devices;  // all of the last list
        IdSet healthy;
        IdSet unhealthy;
    };
    struct Endpoint {
        std::shared_ptr<PluginClient> client;  // null: the stub after a kubelet restart
        std::optional<PluginOptions> options;
        std::optional<TimePoint> stopped;
    };
    using Reusable = std::map<std::string, IdSet>;  // by resource

    Error stopped_error(const std::string& resource, const Endpoint& endpoint) const;

    bool known(const std::string& resource) const;
    void rebuild_allocated();
    void save();
    Status allocate_container(
        const PodSpec& pod,
        const ContainerSpec& container,
        bool sources_ready,
        bool was_running,
        const Reusable& reusable
    );
    Result<std::string> call_allocate(const std::string& resource, const IdSet& chosen);
    Result<IdSet> devices_to_allocate(
        const std::string& uid,
        const std::string& container,
        const std::string& resource,
        std::int64_t needed,
        const IdSet& reusable,
        bool skip
    );
    Result<IdSet> preferred(
        const std::string& resource, const IdSet& available, const IdSet& chosen, std::int64_t size
    );
    Status pre_start(
        const std::string& uid, const std::string& container, const std::string& resource
    );
    std::vector<std::string> shuffled(const IdSet& ids);

    const KubeletOptions options_;
    const std::function<std::set<std::string>()> active_;
    const std::filesystem::path checkpoint_;

    mutable std::mutex mutex_;
    Random random_;
    std::map<std::string, Resource> resources_;
    std::map<std::string, Endpoint> endpoints_;
    std::map<std::string, std::map<std::string, ByResource>> pods_;  // UID, container
    std::map<std::string, IdSet> allocated_;                         // by resource
    std::map<std::string, IdSet> in_flight_;                         // of the Allocate that runs
    std::string reuse_uid_;  // init containers' devices may be re-used by this pod only
    Reusable reuse_;
};

}  // namespace egpu::testing
