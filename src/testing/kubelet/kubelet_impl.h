// The inside of the embedded kubelet: its threads, its locks and the pods it knows. Internal; the
// public half is kubelet.cpp, the loops are kubelet_loops.cpp.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "testing/kubelet/device_state.h"
#include "testing/kubelet/kubelet.h"
#include "testing/kubelet/plugin_hub.h"
#include "testing/kubelet/pod_life.h"
#include "testing/kubelet/pod_resources_server.h"

namespace egpu::testing {

struct Kubelet::Impl {
    struct Pod {
        PodLife life;
        std::uint64_t order = 0;
        std::thread worker{};
    };
    using PodPtr = std::shared_ptr<Pod>;
    using Lock = std::unique_lock<std::mutex>;

    explicit Impl(KubeletOptions o) : options(std::move(o)) {
        options.root = std::filesystem::absolute(options.root);
    }

    Status begin();
    void sync_known_pods();
    Result<Admission> admit(const PodPtr& pod, bool sources_ready);
    void work_on(const PodPtr& pod);
    void start_container(Lock& lock, Pod& pod, std::size_t index);
    void report(Lock& lock, const Pod& pod);
    void collect_garbage();
    void capacity_changed();
    std::set<std::string> active() const;
    std::vector<PodSpec> listed() const;
    void join_dead();
    void refresh_node_status(Lock& lock) const;

    KubeletOptions options;
    std::function<void(const PodStatus&)> pod_callback;
    std::function<void()> capacity_callback;
    std::mutex callback_mutex;   // one callback at a time
    std::mutex control_mutex;    // start against stop
    std::mutex admission_mutex;  // admission is serial

    mutable std::mutex mutex;  // everything below; never held while the device state is asked
    mutable std::condition_variable changed;  // for those who wait for a status
    std::condition_variable work;             // for the threads of this kubelet
    bool running = false;
    bool stopping = false;
    bool synced = false;
    std::uint64_t next_order = 0;
    std::map<std::string, PodPtr> pods;
    std::vector<std::thread> dead;  // workers of pods that are gone
    int leaving = 0;                // workers that still report that
    std::shared_ptr<DeviceState> state;
    mutable std::map<std::string, std::int64_t> capacity;  // as in Node.status: keys stay
    mutable std::map<std::string, std::int64_t> allocatable;

    std::unique_ptr<PluginHub> hub;
    std::unique_ptr<PodResourcesServer> pod_resources;
    std::thread sync_thread;
    std::thread gc_thread;
};

}  // namespace egpu::testing
