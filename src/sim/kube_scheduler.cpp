#include "sim/kube_scheduler.h"

#include <utility>

#include "base/log.h"
#include "sim/kube_scheduler_impl.h"

namespace egpu::sim {

KubeScheduler::Impl::Impl(
    k8s::Client client, KubeSchedulerOptions options, std::unique_ptr<ExtenderCaller> extender
)
    : writer_(client.with_user_agent("kube-scheduler"), stop_.token(), options.dialect),
      options_(std::move(options)),
      extender_(std::move(extender)),
      queue_(options_.queue),
      random_(options_.seed) {
    const k8s::Client watching = client.with_user_agent("kube-scheduler");
    k8s::ReflectorOptions pods;
    pods.path = "/api/v1/pods";
    pods.field_selector = "status.phase!=Succeeded,status.phase!=Failed";
    pods.backoff_first = Millis(50);
    pods.backoff_most = Seconds(1);
    k8s::ReflectorOptions nodes = pods;
    nodes.path = "/api/v1/nodes";
    nodes.field_selector.clear();
    pods_watch_ = std::make_unique<k8s::Reflector>(
        watching,
        pods,
        k8s::ReflectorCallbacks{
            [this](const json::value& pod) { pod_changed(pod); },
            [this](std::string_view, std::string_view uid, const json::value*) {
                pod_gone(std::string(uid));
            },
            {}}
    );
    nodes_watch_ = std::make_unique<k8s::Reflector>(
        watching,
        nodes,
        k8s::ReflectorCallbacks{
            [this](const json::value& node) { node_changed(node); },
            [this](std::string_view key, std::string_view, const json::value*) {
                const std::scoped_lock lock(mutex_);
                cache_.remove_node(std::string(key));
            },
            {}}
    );
}

void KubeScheduler::Impl::start() {
    evictions_ = std::make_unique<Evictions>(
        writer_,
        Evictions::Callbacks{
            [this](const std::string& uid) { released(uid, false); },
            [this](const std::string& uid) { released(uid, true); }}
    );
    nodes_watch_->start();
    pods_watch_->start();
    cycle_thread_ = std::thread([this] { cycle_loop(); });
    for (int i = 0; i < options_.bind_workers; ++i) {
        bind_threads_.emplace_back([this] { bind_loop(); });
    }
}

void KubeScheduler::Impl::stop() {
    {
        const std::scoped_lock lock(mutex_);
        if (stopping_) return;
        stopping_ = true;
    }
    stop_.request();
    changed_.notify_all();
    pods_watch_->stop();
    nodes_watch_->stop();
    if (cycle_thread_.joinable()) cycle_thread_.join();
    for (std::thread& t : bind_threads_) t.join();
    bind_threads_.clear();
    if (evictions_) evictions_->stop();
    writer_.stop();
}

bool KubeScheduler::Impl::synced() const {
    return pods_watch_->synced() && nodes_watch_->synced();
}

KubeSchedulerStats KubeScheduler::Impl::stats() const {
    const std::scoped_lock lock(mutex_);
    KubeSchedulerStats out = stats_;
    out.waiting = queue_.size();
    return out;
}

void KubeScheduler::Impl::pod_changed(const json::value& object) {
    auto pod = sched_pod(object);
    if (!pod) {
        log::warn("pod ignored", {{"why", pod.error().message}});
        return;
    }
    const std::string uid = pod->uid;
    const bool ours = pod->scheduler_name.empty() || pod->scheduler_name == options_.scheduler_name;
    const bool pending = pod->node.empty() && ours && !pod->deleting && !pod->gated;
    {
        const std::scoped_lock lock(mutex_);
        const auto now = MonoClock::now();
        if (pending) {
            if (cache_.node_of(uid).empty()) queue_.add(uid, pod->priority, now);
        } else {
            queue_.remove(uid);
        }
        if (cache_.upsert_pod(*std::move(pod))) queue_.cluster_event(now);
    }
    changed_.notify_all();
}

void KubeScheduler::Impl::pod_gone(const std::string& uid) {
    {
        const std::scoped_lock lock(mutex_);
        queue_.remove(uid);
        if (cache_.remove_pod(uid)) queue_.cluster_event(MonoClock::now());
    }
    changed_.notify_all();
}

void KubeScheduler::Impl::node_changed(const json::value& object) {
    auto node = sched_node(object);
    if (!node) {
        log::warn("node ignored", {{"why", node.error().message}});
        return;
    }
    {
        const std::scoped_lock lock(mutex_);
        if (cache_.upsert_node(*std::move(node))) queue_.cluster_event(MonoClock::now());
    }
    changed_.notify_all();
}

void KubeScheduler::Impl::released(const std::string& uid, bool at_once) {
    {
        const std::scoped_lock lock(mutex_);
        queue_.release(uid);
        if (at_once) queue_.activate(uid, MonoClock::now());
    }
    changed_.notify_all();
}

Result<std::unique_ptr<KubeScheduler>> KubeScheduler::start(
    k8s::Client client, KubeSchedulerOptions options
) {
    EG_TRY(auto extender, ExtenderCaller::open(options.extender));
    auto impl = std::make_unique<Impl>(std::move(client), std::move(options), std::move(extender));
    impl->start();
    return std::unique_ptr<KubeScheduler>(new KubeScheduler(std::move(impl)));
}

KubeScheduler::KubeScheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

KubeScheduler::~KubeScheduler() {
    stop();
}

void KubeScheduler::stop() {
    impl_->stop();
}

bool KubeScheduler::synced() const {
    return impl_->synced();
}

KubeSchedulerStats KubeScheduler::stats() const {
    return impl_->stats();
}

}  // namespace egpu::sim
