#include <algorithm>

#include "base/files.h"
#include "kubelet/checkpoint.h"
#include "testing/kubelet/kubelet_impl.h"

namespace egpu::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSocketPathLimit = 107;

// What a kubelet removes at its start: everything but the checkpoint (to 1.32) or the sockets.
void clean_plugin_folder(const fs::path& folder, Dialect dialect) {
    std::error_code error;
    std::vector<fs::path> doomed;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const bool socket = entry.is_socket(error);
        const bool kept = entry.path().filename() == egpu::kubelet::kCheckpointName;
        if (socket || (dialect == Dialect::k1_21 && !entry.is_directory(error) && !kept)) {
            doomed.push_back(entry.path());
        }
    }
    for (const auto& path : doomed) fs::remove(path, error);
}

}  // namespace

std::set<std::string> Kubelet::Impl::active() const {
    const std::scoped_lock lock(mutex);
    std::set<std::string> uids;
    for (const auto& [uid, pod] : pods) {
        if (!terminal(pod->life) && !pod->life.status.gone) uids.insert(uid);
    }
    return uids;
}

// 1.34 lists active pods only.
std::vector<PodSpec> Kubelet::Impl::listed() const {
    const std::scoped_lock lock(mutex);
    std::vector<PodSpec> specs;
    for (const auto& [uid, pod] : pods) {
        if (options.dialect == Dialect::k1_34 && terminal(pod->life)) continue;
        specs.push_back(pod->life.spec);
    }
    return specs;
}

void Kubelet::Impl::report(Lock& lock, const Pod& pod) {
    const PodStatus status = pod.life.status;
    changed.notify_all();
    if (!pod_callback) return;
    lock.unlock();
    {
        const std::scoped_lock serial(callback_mutex);
        pod_callback(status);
    }
    lock.lock();
}

void Kubelet::Impl::capacity_changed() {
    changed.notify_all();
    if (!capacity_callback) return;
    const std::scoped_lock serial(callback_mutex);
    capacity_callback();
}

Status Kubelet::Impl::begin() {
    const auto plugins = options.root / "device-plugins";
    const auto resources = options.root / "pod-resources";
    if ((resources / "kubelet.sock").native().size() > kSocketPathLimit - 32) {
        return Error{
            ErrorCode::kInvalid, "embedded kubelet: root path too long: " + options.root.string()};
    }
    EG_TRY_VOID(make_directories(plugins, 0750));
    EG_TRY_VOID(make_directories(resources, 0755));
    auto fresh = std::make_shared<DeviceState>(options, [this] { return active(); });
    fresh->load();
    clean_plugin_folder(plugins, options.dialect);
    {
        const std::scoped_lock lock(mutex);
        state = fresh;
        for (auto& [uid, pod] : pods) {
            for (std::size_t i = 0; i < pod->life.containers.size(); ++i) {
                pod->life.containers[i].was_running =
                    pod->life.status.containers[i].state == ContainerState::kRunning;
            }
        }
    }
    pod_resources = std::make_unique<PodResourcesServer>(
        options,
        *fresh,
        [this] { return listed(); },
        [this] {
            const std::scoped_lock lock(mutex);
            return synced;
        }
    );
    hub = std::make_unique<PluginHub>(options, *fresh, [this] { capacity_changed(); });
    EG_TRY_VOID(pod_resources->start());
    EG_TRY_VOID(hub->start());
    return {};
}

// Pods come from the API server a while after kubelet.sock exists; that gap is the plugins' chance.
void Kubelet::Impl::sync_known_pods() {
    std::vector<PodPtr> known;
    {
        Lock lock(mutex);
        work.wait_for(lock, options.sources_ready, [this] { return stopping; });
        if (stopping) return;
        for (const auto& [uid, pod] : pods) known.push_back(pod);
    }
    std::sort(known.begin(), known.end(), [](const PodPtr& a, const PodPtr& b) {
        return a->order < b->order;
    });
    for (const auto& pod : known) {
        bool decide = false;
        {
            const std::scoped_lock lock(mutex);
            decide = !terminal(pod->life) && !pod->life.status.terminating;
        }
        if (decide && !admit(pod, false)) return;  // stopping
        const std::scoped_lock lock(mutex);
        if (stopping) return;
        if (!pod->worker.joinable()) pod->worker = std::thread([this, pod] { work_on(pod); });
    }
    const std::scoped_lock lock(mutex);
    synced = true;
    changed.notify_all();
    work.notify_all();
}

Result<Admission> Kubelet::Impl::admit(const PodPtr& pod, bool sources_ready) {
    PodSpec spec;
    std::vector<PodLife::Container> lives;
    std::shared_ptr<DeviceState> devices;
    {
        const std::scoped_lock lock(mutex);
        spec = pod->life.spec;
        lives = pod->life.containers;
        devices = state;
    }
    Admission admission{.admitted = true};
    for (std::size_t i = 0; i < spec.containers.size() && admission.admitted; ++i) {
        const auto allocated =
            devices->allocate(spec, spec.containers[i], sources_ready, lives[i].was_running);
        if (allocated) continue;
        admission = {
            false,
            "UnexpectedAdmissionError",
            "Allocate failed due to " + allocated.error().message + ", which is unexpected"};
    }
    Lock lock(mutex);
    if (stopping) {
        return Error{
            ErrorCode::kUnavailable, "embedded kubelet: stopped while it admitted " + spec.name};
    }
    if (admission.admitted) {
        pod->life.admission = admission;
    } else {
        reject(pod->life, admission, MonoClock::now());
    }
    report(lock, *pod);
    return admission;
}

void Kubelet::Impl::start_container(Lock& lock, Pod& pod, std::size_t index) {
    const PodSpec spec = pod.life.spec;
    const auto devices = state;
    lock.unlock();
    auto given = devices->run_options(spec, spec.containers[index]);
    lock.lock();
    if (stopping || pod.life.status.terminating) return;  // never created
    bool changed_status = true;
    if (given) {
        started(pod.life, index, *std::move(given), MonoClock::now());
    } else {
        changed_status =
            start_failed(pod.life, index, given.error().message, options, MonoClock::now());
    }
    if (changed_status) report(lock, pod);
}

void Kubelet::Impl::work_on(const PodPtr& pod) {
    Lock lock(mutex);
    while (!stopping) {
        const auto step = advance(pod->life, options, MonoClock::now());
        if (step.gone) {
            ++leaving;
            pods.erase(pod->life.spec.uid);
            report(lock, *pod);
            if (pod->worker.joinable()) dead.push_back(std::move(pod->worker));
            --leaving;
            changed.notify_all();
            return;
        }
        if (step.changed) {
            report(lock, *pod);  // gives up the lock
        } else if (step.start) {
            start_container(lock, *pod, *step.start);
        } else if (step.wake) {
            work.wait_until(lock, *step.wake);
        } else {
            work.wait(lock);
        }
    }
}

void Kubelet::Impl::join_dead() {
    std::vector<std::thread> ended;
    {
        const std::scoped_lock lock(mutex);
        for (auto& thread : dead) {
            if (thread.get_id() != std::this_thread::get_id()) ended.push_back(std::move(thread));
        }
        std::erase_if(dead, [](const std::thread& thread) { return !thread.joinable(); });
    }
    for (auto& thread : ended) thread.join();
}

void Kubelet::Impl::collect_garbage() {
    Lock lock(mutex);
    while (!stopping) {
        const auto devices = state;
        lock.unlock();
        if (devices->expire()) capacity_changed();
        lock.lock();
        work.wait_for(lock, options.gc_tick, [this] { return stopping; });
    }
}

// Callers hold the lock; it is given up while the device state is asked.
void Kubelet::Impl::refresh_node_status(Lock& lock) const {
    if (!running || stopping) return;  // Node.status stays as it was
    const auto devices = state;
    lock.unlock();
    std::map<std::string, std::int64_t> all;
    std::map<std::string, std::int64_t> healthy;
    devices->count(all, healthy);
    lock.lock();
    for (auto& [resource, count] : capacity) count = 0;
    for (auto& [resource, count] : allocatable) count = 0;
    for (const auto& [resource, count] : all) capacity[resource] = count;
    for (const auto& [resource, count] : healthy) allocatable[resource] = count;
}

}  // namespace egpu::testing
