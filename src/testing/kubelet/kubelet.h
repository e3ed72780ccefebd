// An embedded kubelet: device plugins, pod admission, pod-resources, checkpoint and a simulated
// container runtime, for tests and the demo. No root, no cluster.
//
// Behaves like real kubelets in the two dialects that matter (see Dialect), their bugs included.
// Nothing here needs an API server: add_pod() is the only source of pods, and whoever syncs with an
// API server does it on top through the callbacks. Thread-safe; callbacks come without locks held.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kubelet/types.h"

namespace egpu::testing {

enum class Dialect {
    k1_21,  // Register answers before it dials; options from RegisterRequest; authority = raw path;
            // pods whose devices are in the checkpoint start without the plugin
    k1_34,  // dials inside Register; options from GetDevicePluginOptions; authority localhost;
            // admission demands healthy devices; the death of an old stream disconnects the newest
            // plugin; pod-resources rate limited
};
std::string_view to_string(Dialect dialect);

struct KubeletOptions {
    // The kubelet's root: <root>/device-plugins and <root>/pod-resources are made. Keep it short:
    // socket paths end at 107 bytes.
    std::filesystem::path root{};
    Dialect dialect = Dialect::k1_34;
    Duration endpoint_grace = std::chrono::minutes(5);  // after a plugin's death
    Duration dial_deadline = Seconds(10);               // dial-back of 1.34 and 1.21
    Duration pre_start_deadline = Seconds(30);
    Duration sync_retry = Millis(250);     // retry of CreateContainerConfigError
    Duration restart_delay = Millis(50);   // between a container's end and its restart
    Duration sources_ready = Millis(200);  // kubelet.sock exists so long before pods are admitted
    Duration gc_tick = Millis(200);        // checks endpoint_grace (the real one: 10 s)
    bool double_handout_race = true;       // List during an Allocate can free the IDs in flight
    bool serve_pod_resources_v1 = true;    // false: v1alpha1 only
    std::uint64_t seed = 1;                // of the "random" (Go map order) choice of devices
};

enum class ContainerKind { kInit, kSidecar, kApp };
enum class RestartPolicy { kAlways, kOnFailure, kNever };

struct ContainerSpec {
    std::string name{};
    ContainerKind kind = ContainerKind::kApp;
    std::map<std::string, std::int64_t> limits{};  // extended resources only
    std::map<std::string, std::string> env{};      // of the pod's author: wins over the plugin's
    // Ends so long after its start; none: runs for ever (an init container: ends at once).
    std::optional<Duration> run_for = std::nullopt;
    int exit_code = 0;
};

struct PodSpec {
    std::string uid{};
    std::string ns = "default";
    std::string name{};
    std::vector<ContainerSpec> containers{};  // init containers and sidecars first, in spec order
    RestartPolicy restart = RestartPolicy::kAlways;
    Duration termination = Duration::zero();  // how long its containers take to stop
};

struct Admission {
    bool admitted = false;
    std::string reason{};  // "UnexpectedAdmissionError"; the pod is Failed for good then
    std::string message{};
};

enum class ContainerState { kWaiting, kRunning, kTerminated };

struct ContainerStatus {
    std::string name{};
    ContainerKind kind = ContainerKind::kApp;
    ContainerState state = ContainerState::kWaiting;
    std::string reason{};  // "ContainerCreating", "PodInitializing", "CreateContainerConfigError",
                           // "Completed", "Error"
    std::string message{};
    int exit_code = 0;
    int restarts = 0;
    std::chrono::system_clock::time_point started{};
    std::chrono::system_clock::time_point finished{};
    // What it was given at its last start, merged over its resources as the kubelet does.
    std::map<std::string, std::vector<std::string>> ids{};  // by resource, sorted
    egpu::kubelet::AllocateResponse given{};                // envs: with the pod's own env on top
};

enum class PodPhase { kPending, kRunning, kSucceeded, kFailed };
std::string_view to_string(PodPhase phase);  // "Pending", …

struct PodStatus {
    std::string uid{};
    std::string ns{};
    std::string name{};
    PodPhase phase = PodPhase::kPending;
    std::string reason{};      // of a failed admission
    std::string message{};     // the event's text; the API's status has rejection_message() of it
    bool terminating = false;  // remove_pod or terminate_pod was called
    bool gone = false;         // last word of a terminated pod: all containers have stopped
    std::chrono::system_clock::time_point started{};
    std::vector<ContainerStatus> containers{};  // in spec order
};

// status.message of a pod whose admission failed with `message`.
std::string rejection_message(Dialect dialect, const std::string& message);

class Kubelet {
  public:
    explicit Kubelet(KubeletOptions options);
    ~Kubelet();  // stop() and the end of all containers
    Kubelet(const Kubelet&) = delete;
    Kubelet& operator=(const Kubelet&) = delete;

    // Set before start(). Called from the kubelet's threads, one call at a time.
    void on_pod_status(std::function<void(const PodStatus&)> callback);
    void on_capacity_change(std::function<void()> callback);

    // Reads the checkpoint, deletes the plugins' sockets, listens on kubelet.sock and, after
    // sources_ready, re-admits the pods it knows (in the background; see wait_synced). Errors: the
    // folders or sockets cannot be made.
    Status start();
    // Like SIGKILL of the kubelet: connections end, containers go on. Idempotent.
    void stop();
    // stop() and the end of every container, as in a reboot. start() follows when the test wants.
    void power_off();
    bool running() const;
    Dialect dialect() const;
    // True once all pods known before start() were re-admitted or rejected.
    bool wait_synced(Duration timeout) const;

    // Admits (blocking: it calls the plugins) and starts the containers in the background.
    // Admission is serial. A UID that is known already is answered with its admission. kUnavailable
    // when the kubelet is stopped; kInvalid for a bad spec.
    Result<Admission> add_pod(PodSpec pod);
    // Stops the containers; the pod is forgotten when they have ended. kNotFound for an unknown
    // UID.
    Status terminate_pod(const std::string& uid);
    // terminate_pod() and wait until it is gone.
    Status remove_pod(const std::string& uid);
    // Ends the running container with `exit_code`; it is started anew (PreStartContainer first) as
    // the pod's restart policy says. Works on a stopped kubelet: the restart comes after start().
    Status restart_container(
        const std::string& uid, const std::string& container, int exit_code = 1
    );

    // As in Node.status: capacity = all devices, allocatable = healthy ones. The key of a resource
    // that is gone stays, with 0.
    std::map<std::string, std::int64_t> capacity() const;
    std::map<std::string, std::int64_t> allocatable() const;

    std::vector<PodStatus> pods() const;
    std::optional<PodStatus> pod(const std::string& uid) const;
    // nullopt: no such pod or container.
    std::optional<ContainerStatus> container(const std::string& uid, const std::string& name) const;
    // Polls pod(uid) until `done` says true. False after `timeout`.
    bool wait_pod(
        const std::string& uid, const std::function<bool(const PodStatus&)>& done, Duration timeout
    ) const;
    // Waits until allocatable()[resource] == count.
    bool wait_allocatable(const std::string& resource, std::int64_t count, Duration timeout) const;

    std::filesystem::path plugin_folder() const;         // <root>/device-plugins
    std::filesystem::path pod_resources_socket() const;  // <root>/pod-resources/kubelet.sock
    std::filesystem::path checkpoint_path() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::testing
