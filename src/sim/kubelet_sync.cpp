#include "sim/kubelet_sync.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "k8s/codec.h"
#include "k8s/events.h"
#include "k8s/watch.h"

namespace egpu::sim {

namespace {

constexpr Duration kWriteDeadline = Seconds(5);

// What is known of one pod (one UID) of this node.
struct PodEntry {
    json::value object;  // as last seen in the API server
    std::string ip;
    bool attempted = false;    // the kubelet may know it
    bool admitted = false;     // the kubelet has it
    bool refused = false;      // the object itself is wrong: it was reported as Failed
    bool want_gone = false;    // deletion asked for, or the object is gone
    bool in_api = true;        // false: nothing is left to delete
    bool terminating = false;  // the kubelet was told
    bool stopped = false;      // all containers have ended: only the DELETE is missing
    bool dirty = false;        // `status` is not reported yet
    std::optional<testing::PodStatus> status;
    std::set<std::string> events;  // what was recorded already
};

bool is_terminal(const json::value& pod) {
    const std::string_view phase = json::get_string(pod, {"status", "phase"});
    return phase == "Succeeded" || phase == "Failed";
}

}  // namespace

class KubeletSync::Impl : public std::enable_shared_from_this<KubeletSync::Impl> {
  public:
    Impl(testing::Kubelet& kubelet, k8s::Client client, KubeletSyncOptions options)
        : kubelet_(kubelet),
          client_(client.with_user_agent("kubelet")),
          options_(std::move(options)),
          events_(client_, event_options(options_.facts.name)) {}

    void start() {
        k8s::ReflectorOptions watch;
        watch.path = "/api/v1/pods";
        watch.field_selector = "spec.nodeName=" + options_.facts.name;
        watch.backoff_first = Millis(50);
        watch.backoff_most = Seconds(1);
        k8s::ReflectorCallbacks callbacks;
        callbacks.on_upsert = [this](const json::value& pod) { upsert(pod); };
        callbacks.on_delete = [this](std::string_view, std::string_view uid, const json::value*) {
            deleted(std::string(uid));
        };
        pods_watch_ = std::make_unique<k8s::Reflector>(client_, watch, std::move(callbacks));
        pods_watch_->start();
        admit_thread_ = std::thread([this] { admit_loop(); });
        report_thread_ = std::thread([this] { report_loop(); });
    }

    void stop() {
        {
            const std::scoped_lock lock(mutex_);
            if (stopping_) return;
            stopping_ = true;
        }
        changed_.notify_all();
        stop_.request();
        if (pods_watch_) pods_watch_->stop();
        if (admit_thread_.joinable()) admit_thread_.join();
        if (report_thread_.joinable()) report_thread_.join();
        events_.stop(Duration::zero());
    }

    bool synced() const { return pods_watch_ && pods_watch_->synced(); }

    void on_status(const testing::PodStatus& status) {
        {
            const std::scoped_lock lock(mutex_);
            const auto found = pods_.find(status.uid);
            if (found == pods_.end()) return;
            found->second.status = status;
            found->second.dirty = true;
            if (status.gone) found->second.stopped = true;
            record_events(found->second);
        }
        changed_.notify_all();
    }

  private:
    static k8s::EventOptions event_options(const std::string& node) {
        k8s::EventOptions options;
        options.component = "kubelet";
        options.host = node;
        options.rate = 100;
        options.burst = 200;
        return options;
    }

    // ---- what the API server says

    void upsert(const json::value& pod) {
        const std::string uid(json::get_string(pod, {"metadata", "uid"}));
        if (uid.empty()) return;
        {
            const std::scoped_lock lock(mutex_);
            auto [entry, fresh] = pods_.try_emplace(uid);
            PodEntry& p = entry->second;
            p.object = pod;
            if (fresh) {
                p.ip = options_.pod_ip_prefix + std::to_string(next_ip_);
                next_ip_ = next_ip_ % 250 + 1;
                // A finished pod is never run again; it stays until it is deleted.
                if (is_terminal(pod)) p.refused = true;
                order_.push_back(uid);
            }
            if (!json::get_string(pod, {"metadata", "deletionTimestamp"}).empty()) {
                p.want_gone = true;
            }
        }
        changed_.notify_all();
    }

    void deleted(const std::string& uid) {
        {
            const std::scoped_lock lock(mutex_);
            const auto found = pods_.find(uid);
            if (found == pods_.end()) return;
            found->second.in_api = false;
            found->second.want_gone = true;
        }
        changed_.notify_all();
    }

    // ---- the kubelet's side: admission is serial, and one slow plugin holds up all pods

    struct Work {
        std::string uid;
        bool admit = false;  // otherwise: terminate
        json::value object;
    };

    std::optional<Work> next_work() {
        for (auto it = order_.begin(); it != order_.end();) {
            const auto found = pods_.find(*it);
            if (found == pods_.end()) {
                it = order_.erase(it);
                continue;
            }
            PodEntry& p = found->second;
            if (p.want_gone && p.attempted && !p.terminating) return Work{*it, false, {}};
            if (p.want_gone && !p.attempted && !p.stopped) {
                p.stopped = true;  // never started: nothing to stop
                changed_.notify_all();
            }
            if (!p.want_gone && !p.admitted && !p.refused) return Work{*it, true, p.object};
            ++it;
        }
        return std::nullopt;
    }

    void admit_loop() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            auto work = next_work();
            if (!work) {
                changed_.wait(lock);
                continue;
            }
            lock.unlock();
            const bool done = work->admit ? admit(*work) : terminate(*work);
            lock.lock();
            if (!done && !stopping_) changed_.wait_for(lock, options_.retry);
        }
    }

    bool admit(const Work& work) {
        auto spec = kubelet_pod(work.object);
        if (!spec) {
            refuse(work, spec.error().message);
            return true;
        }
        {
            // Before the call: the kubelet reports the first status from inside add_pod.
            const std::scoped_lock lock(mutex_);
            const auto found = pods_.find(work.uid);
            if (found != pods_.end()) found->second.attempted = found->second.admitted = true;
        }
        auto admission = kubelet_.add_pod(*std::move(spec));
        if (admission) return true;
        const bool invalid = admission.error().code == ErrorCode::kInvalid;
        {
            const std::scoped_lock lock(mutex_);
            const auto found = pods_.find(work.uid);
            // Stopped while it asked the plugins: it may know the pod or not; add_pod is
            // idempotent.
            if (found != pods_.end()) found->second.admitted = false;
        }
        if (invalid) refuse(work, admission.error().message);
        return invalid;
    }

    void refuse(const Work& work, const std::string& why) {
        testing::PodStatus status;
        status.uid = work.uid;
        status.ns = json::get_string(work.object, {"metadata", "namespace"});
        status.name = json::get_string(work.object, {"metadata", "name"});
        status.phase = testing::PodPhase::kFailed;
        status.reason = "InvalidPod";
        status.message = why;
        status.started = std::chrono::system_clock::now();
        {
            const std::scoped_lock lock(mutex_);
            const auto found = pods_.find(work.uid);
            if (found != pods_.end()) found->second.refused = true;
        }
        on_status(status);
    }

    bool terminate(const Work& work) {
        const Status told = kubelet_.terminate_pod(work.uid);
        const bool unknown = !told && told.error().code == ErrorCode::kNotFound;
        const std::scoped_lock lock(mutex_);
        const auto found = pods_.find(work.uid);
        if (found == pods_.end()) return true;
        if (!told && !unknown) return false;
        found->second.terminating = true;
        if (unknown) {
            found->second.stopped = true;
            changed_.notify_all();
        }
        return true;
    }

    // ---- reports to the API server

    void report_loop() {
        TimePoint last_heartbeat{};
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            std::vector<std::pair<std::string, PodEntry>> reports;
            for (auto& [uid, p] : pods_) {
                if (!p.stopped && !p.dirty) continue;
                p.dirty = false;
                reports.emplace_back(uid, p);
            }
            lock.unlock();
            bool failed = false;
            for (const auto& [uid, p] : reports) {
                if (stop_.token().stopped()) break;
                if (report(uid, p)) continue;
                failed = true;
                const std::scoped_lock again(mutex_);
                const auto found = pods_.find(uid);
                if (found != pods_.end()) found->second.dirty = true;
            }
            const bool beat = MonoClock::now() - last_heartbeat >= options_.heartbeat;
            if (kubelet_.running() && report_node(beat) && beat) last_heartbeat = MonoClock::now();
            lock.lock();
            if (stopping_) break;
            if (failed) {
                changed_.wait_for(lock, options_.retry, [this] { return stopping_; });
            } else {
                changed_.wait_for(lock, options_.tick, [this] {
                    return stopping_ || any_report();
                });
            }
        }
    }

    bool any_report() const {
        for (const auto& [uid, p] : pods_) {
            if (p.stopped || p.dirty) return true;
        }
        return false;
    }

    k8s::Call call() const {
        k8s::Call out(MonoClock::now() + kWriteDeadline);
        out.stop = &stop_token_;
        return out;
    }

    // False: try again later.
    bool report(const std::string& uid, const PodEntry& p) {
        const std::string path = k8s::pod_path(
            json::get_string(p.object, {"metadata", "namespace"}),
            json::get_string(p.object, {"metadata", "name"})
        );
        if (!p.stopped) {
            const PodAddresses addresses{options_.facts.address, p.ip};
            const json::value patch =
                pod_status_patch(*p.status, p.object, addresses, kubelet_.dialect());
            auto done = client_.patch(path + "/status", patch, k8s::PatchType::kStrategic, call());
            return done || is_final(done.error().code);
        }
        if (p.in_api) {
            const json::value options{
                {"apiVersion", "v1"},
                {"kind", "DeleteOptions"},
                {"gracePeriodSeconds", 0},
                {"preconditions", {{"uid", uid}}}};
            auto done = client_.del(path, options, call());
            if (!done && !is_final(done.error().code)) return false;
        }
        const std::scoped_lock lock(mutex_);
        pods_.erase(uid);
        return true;
    }

    // The pod (this UID) is not there any more, or the API server will never take the report.
    static bool is_final(ErrorCode code) {
        return code == ErrorCode::kNotFound || code == ErrorCode::kInvalid;
    }

    bool report_node(bool beat) {
        const auto capacity = kubelet_.capacity();
        const auto allocatable = kubelet_.allocatable();
        if (!beat && reported_ && capacity == capacity_ && allocatable == allocatable_) return true;
        const std::string path = k8s::node_path(options_.facts.name) + "/status";
        const json::value patch = node_status_patch(options_.facts, capacity, allocatable);
        auto done = client_.patch(path, patch, k8s::PatchType::kStrategic, call());
        if (!done && done.error().code == ErrorCode::kNotFound) {
            auto made = client_.post("/api/v1/nodes", node_object(options_.facts), call());
            if (!made && made.error().code != ErrorCode::kConflict) return false;
            done = client_.patch(path, patch, k8s::PatchType::kStrategic, call());
        }
        reported_ = done.ok();
        if (!done) return false;
        capacity_ = capacity;
        allocatable_ = allocatable;
        return true;
    }

    // ---- events, with the kubelet's texts

    void record(
        PodEntry& p, k8s::EventType type, const std::string& reason, const std::string& text
    ) {
        if (!p.events.insert(reason + " " + text).second) return;
        const k8s::ObjectReference about{"Pod", p.status->ns, p.status->name, p.status->uid, "v1"};
        events_.record(about, type, reason, text);
    }

    void record_events(PodEntry& p) {
        const testing::PodStatus& status = *p.status;
        if (!status.reason.empty()) {
            record(p, k8s::EventType::kWarning, status.reason, status.message);
        }
        for (const testing::ContainerStatus& c : status.containers) {
            if (c.state == testing::ContainerState::kWaiting) {
                if (c.reason != "CreateContainerConfigError") continue;
                record(p, k8s::EventType::kWarning, "Failed", "Error: " + c.message);
                continue;
            }
            const std::string key = "start " + c.name + " " + std::to_string(c.restarts);
            if (!p.events.insert(key).second) continue;
            const k8s::ObjectReference about{"Pod", status.ns, status.name, status.uid, "v1"};
            events_.record(
                about, k8s::EventType::kNormal, "Created", "Created container " + c.name
            );
            events_.record(
                about, k8s::EventType::kNormal, "Started", "Started container " + c.name
            );
        }
    }

    testing::Kubelet& kubelet_;
    k8s::Client client_;
    KubeletSyncOptions options_;
    k8s::EventRecorder events_;
    std::unique_ptr<k8s::Reflector> pods_watch_;
    StopSource stop_;
    StopToken stop_token_ = stop_.token();

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, PodEntry> pods_;
    std::deque<std::string> order_;  // of arrival: the order of admission
    int next_ip_ = 1;
    bool stopping_ = false;

    // Of the report thread only.
    bool reported_ = false;
    std::map<std::string, std::int64_t> capacity_;
    std::map<std::string, std::int64_t> allocatable_;

    std::thread admit_thread_;
    std::thread report_thread_;
};

KubeletSync::KubeletSync(testing::Kubelet& kubelet, k8s::Client client, KubeletSyncOptions options)
    : impl_(std::make_shared<Impl>(kubelet, std::move(client), std::move(options))) {
    // The kubelet may report after this object is gone: the callback keeps the state alive.
    kubelet.on_pod_status([state = impl_](const testing::PodStatus& s) { state->on_status(s); });
}

KubeletSync::~KubeletSync() {
    stop();
}

void KubeletSync::start() {
    impl_->start();
}

void KubeletSync::stop() {
    impl_->stop();
}

bool KubeletSync::synced() const {
    return impl_->synced();
}

}  // namespace egpu::sim
