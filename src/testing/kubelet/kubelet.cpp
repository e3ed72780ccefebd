#include "testing/kubelet/kubelet.h"

#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "kubelet/checkpoint.h"
#include "testing/kubelet/kubelet_impl.h"

namespace egpu::testing {
namespace {

// A killed kubelet leaves its socket file behind; nobody listens on it.
void leave_dead_socket(const std::filesystem::path& path) {
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    static_cast<void>(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address)
    );
}

}  // namespace

std::string_view to_string(Dialect dialect) {
    return dialect == Dialect::k1_21 ? "1.21" : "1.34";
}

std::string_view to_string(PodPhase phase) {
    switch (phase) {
        case PodPhase::kPending:
            return "Pending";
        case PodPhase::kRunning:
            return "Running";
        case PodPhase::kSucceeded:
            return "Succeeded";
        case PodPhase::kFailed:
            return "Failed";
    }
    return "Unknown";
}

std::string rejection_message(Dialect dialect, const std::string& message) {
    return (dialect == Dialect::k1_21 ? "Pod " : "Pod was rejected: ") + message;
}

Kubelet::Kubelet(KubeletOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Kubelet::~Kubelet() {
    stop();
}

void Kubelet::on_pod_status(std::function<void(const PodStatus&)> callback) {
    impl_->pod_callback = std::move(callback);
}

void Kubelet::on_capacity_change(std::function<void()> callback) {
    impl_->capacity_callback = std::move(callback);
}

Status Kubelet::start() {
    const std::scoped_lock control(impl_->control_mutex);
    {
        const std::scoped_lock lock(impl_->mutex);
        if (impl_->running) return Error{ErrorCode::kConflict, "embedded kubelet runs already"};
    }
    auto begun = impl_->begin();
    if (!begun) {
        impl_->hub.reset();
        impl_->pod_resources.reset();
        return begun;
    }
    {
        const std::scoped_lock lock(impl_->mutex);
        impl_->running = true;
        impl_->stopping = false;
        impl_->synced = false;
    }
    impl_->gc_thread = std::thread([this] { impl_->collect_garbage(); });
    impl_->sync_thread = std::thread([this] { impl_->sync_known_pods(); });
    impl_->capacity_changed();
    return {};
}

void Kubelet::stop() {
    const std::scoped_lock control(impl_->control_mutex);
    {
        Impl::Lock lock(impl_->mutex);
        if (!impl_->running) return;
        impl_->refresh_node_status(lock);
        impl_->stopping = true;
        impl_->work.notify_all();
        impl_->changed.notify_all();
    }
    impl_->hub->stop();
    impl_->pod_resources->stop();
    impl_->sync_thread.join();
    impl_->gc_thread.join();
    { const std::scoped_lock no_admission(impl_->admission_mutex); }
    std::vector<std::thread> workers;
    {
        Impl::Lock lock(impl_->mutex);
        impl_->changed.wait(lock, [this] { return impl_->leaving == 0; });
        for (auto& [uid, pod] : impl_->pods) {
            if (pod->worker.joinable()) workers.push_back(std::move(pod->worker));
        }
    }
    for (auto& worker : workers) worker.join();
    impl_->join_dead();
    impl_->hub.reset();
    impl_->pod_resources.reset();
    leave_dead_socket(plugin_folder() / "kubelet.sock");
    const std::scoped_lock lock(impl_->mutex);
    impl_->running = false;
    impl_->stopping = false;
    impl_->synced = false;
}

void Kubelet::power_off() {
    stop();
    const std::scoped_lock lock(impl_->mutex);
    for (auto& [uid, pod] : impl_->pods) lose_power(pod->life, MonoClock::now());
}

bool Kubelet::running() const {
    const std::scoped_lock lock(impl_->mutex);
    return impl_->running && !impl_->stopping;
}

Dialect Kubelet::dialect() const {
    return impl_->options.dialect;
}

bool Kubelet::wait_synced(Duration timeout) const {
    Impl::Lock lock(impl_->mutex);
    return impl_->changed.wait_for(lock, timeout, [this] { return impl_->synced; });
}

Result<Admission> Kubelet::add_pod(PodSpec spec) {
    EG_TRY_VOID(check_spec(spec));
    impl_->join_dead();
    const std::scoped_lock serial(impl_->admission_mutex);
    Impl::PodPtr pod;
    {
        Impl::Lock lock(impl_->mutex);
        impl_->changed.wait(lock, [this] {
            return impl_->synced || impl_->stopping || !impl_->running;
        });
        if (!impl_->running || impl_->stopping) {
            return Error{ErrorCode::kUnavailable, "embedded kubelet is not running"};
        }
        auto& slot = impl_->pods[spec.uid];
        if (slot && slot->life.admission) return *slot->life.admission;
        if (!slot) {
            slot = std::make_shared<Impl::Pod>();
            slot->life = new_life(std::move(spec));
            slot->order = impl_->next_order++;
        }
        pod = slot;
    }
    EG_TRY(auto admission, impl_->admit(pod, true));
    const std::scoped_lock lock(impl_->mutex);
    if (!impl_->stopping && !pod->worker.joinable()) {
        pod->worker = std::thread([impl = impl_.get(), pod] { impl->work_on(pod); });
    }
    return admission;
}

Status Kubelet::terminate_pod(const std::string& uid) {
    const std::scoped_lock lock(impl_->mutex);
    const auto at = impl_->pods.find(uid);
    if (at == impl_->pods.end()) {
        return Error{ErrorCode::kNotFound, "embedded kubelet: no pod " + uid};
    }
    at->second->life.status.terminating = true;
    impl_->work.notify_all();
    return {};
}

Status Kubelet::remove_pod(const std::string& uid) {
    if (!running()) return Error{ErrorCode::kUnavailable, "embedded kubelet is not running"};
    EG_TRY_VOID(terminate_pod(uid));
    Impl::Lock lock(impl_->mutex);
    const bool gone = impl_->changed.wait_for(lock, Seconds(60), [&] {
        return !impl_->pods.contains(uid) || impl_->stopping || !impl_->running;
    });
    if (gone && !impl_->pods.contains(uid)) return {};
    return Error{ErrorCode::kDeadline, "embedded kubelet: pod " + uid + " did not end"};
}

Status Kubelet::restart_container(
    const std::string& uid, const std::string& container, int exit_code
) {
    const std::scoped_lock lock(impl_->mutex);
    const auto at = impl_->pods.find(uid);
    if (at != impl_->pods.end()) {
        auto& life = at->second->life;
        for (std::size_t i = 0; i < life.spec.containers.size(); ++i) {
            if (life.spec.containers[i].name != container) continue;
            if (life.status.containers[i].state != ContainerState::kRunning) {
                return Error{ErrorCode::kConflict, "container " + container + " does not run"};
            }
            end_container(life, i, exit_code, impl_->options.restart_delay, MonoClock::now());
            life.dirty = true;
            impl_->work.notify_all();
            return {};
        }
    }
    return Error{ErrorCode::kNotFound, "embedded kubelet: no container " + uid + "/" + container};
}

std::map<std::string, std::int64_t> Kubelet::capacity() const {
    Impl::Lock lock(impl_->mutex);
    impl_->refresh_node_status(lock);
    return impl_->capacity;
}

std::map<std::string, std::int64_t> Kubelet::allocatable() const {
    Impl::Lock lock(impl_->mutex);
    impl_->refresh_node_status(lock);
    return impl_->allocatable;
}

std::vector<PodStatus> Kubelet::pods() const {
    const std::scoped_lock lock(impl_->mutex);
    std::vector<PodStatus> all;
    for (const auto& [uid, pod] : impl_->pods) all.push_back(pod->life.status);
    return all;
}

std::optional<PodStatus> Kubelet::pod(const std::string& uid) const {
    const std::scoped_lock lock(impl_->mutex);
    const auto at = impl_->pods.find(uid);
    if (at == impl_->pods.end()) return std::nullopt;
    return at->second->life.status;
}

std::optional<ContainerStatus> Kubelet::container(const std::string& uid, const std::string& name)
    const {
    const auto status = pod(uid);
    if (!status) return std::nullopt;
    for (const auto& one : status->containers) {
        if (one.name == name) return one;
    }
    return std::nullopt;
}

bool Kubelet::wait_pod(
    const std::string& uid, const std::function<bool(const PodStatus&)>& done, Duration timeout
) const {
    Impl::Lock lock(impl_->mutex);
    return impl_->changed.wait_for(lock, timeout, [&] {
        const auto at = impl_->pods.find(uid);
        return at != impl_->pods.end() && done(at->second->life.status);
    });
}

bool Kubelet::wait_allocatable(const std::string& resource, std::int64_t count, Duration timeout)
    const {
    const auto until = MonoClock::now() + timeout;
    for (;;) {
        const auto now = allocatable();
        const auto at = now.find(resource);
        if ((at == now.end() ? 0 : at->second) == count) return true;
        if (MonoClock::now() >= until) return false;
        std::this_thread::sleep_for(Millis(2));
    }
}

std::filesystem::path Kubelet::plugin_folder() const {
    return impl_->options.root / "device-plugins";
}

std::filesystem::path Kubelet::pod_resources_socket() const {
    return impl_->options.root / "pod-resources" / "kubelet.sock";
}

std::filesystem::path Kubelet::checkpoint_path() const {
    return plugin_folder() / egpu::kubelet::kCheckpointName;
}

}  // namespace egpu::testing
