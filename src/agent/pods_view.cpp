#include "agent/pods_view.h"

#include <algorithm>

#include "base/log.h"
#include "k8s/codec.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {
namespace {

constexpr std::string_view kUserAgent = "edge-gpu-agent-pods";
constexpr std::size_t kRememberGone = 1'024;
constexpr Duration kRetryFetch = Seconds(5);

}  // namespace

const core::ContainerPlacement* NodePod::placed(std::string_view container) const {
    if (!placement) return nullptr;
    for (const core::ContainerPlacement& entry : placement->containers) {
        if (entry.container == container) return &entry;
    }
    return nullptr;
}

NodePod node_pod(const k8s::Pod& pod) {
    NodePod out;
    out.api_uid = pod.meta.uid;
    out.uid = pod.static_hash.empty() ? pod.meta.uid : pod.static_hash;
    out.ns = pod.meta.ns;
    out.name = pod.meta.name;
    out.terminal = pod.terminal();
    auto request = core::parse_request(pod.containers, pod.meta.annotations);
    if (!request) {
        out.problem = request.error().message;
        return out;
    }
    out.request = std::move(*request);
    if (out.request.empty()) return out;
    auto placement = k8s::from_annotations(pod.meta.annotations, out.request);
    if (placement) {
        out.placement = std::move(*placement);
    } else {
        out.problem = placement.error().message;
    }
    return out;
}

std::vector<Candidate> candidates_of(
    const NodePod& pod, Resource resource, int units, const std::vector<core::Card>& cards
) {
    std::vector<Candidate> candidates;
    for (const core::ContainerRequest& container : pod.request.containers) {
        if (container.resource != resource_name(resource)) continue;
        if (units != 0 && container.units() != units) continue;
        Candidate candidate;
        candidate.holder = {pod.uid, pod.ns, pod.name, container.name, container.kind, false};
        if (const core::ContainerPlacement* placed = pod.placed(container.name)) {
            for (core::CardShare share : placed->cards) {
                const auto card =
                    std::find_if(cards.begin(), cards.end(), [&](const core::Card& c) {
                        return share.uuid.empty() ? c.index == share.index : c.uuid == share.uuid;
                    });
                if (card == cards.end()) {
                    candidate.cards.clear();
                    break;
                }
                share.uuid = card->uuid;
                share.index = card->index;
                if (share.memory_mib == 0) share.memory_mib = container.memory_mib;
                candidate.cards.push_back(std::move(share));
            }
        }
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

PodsView::PodsView(std::string node_name, std::function<void()> on_change)
    : node_name_(std::move(node_name)), on_change_(std::move(on_change)) {}

PodsView::~PodsView() {
    stop();
}

void PodsView::start(const k8s::Client& client) {
    k8s::ReflectorOptions options;
    options.path = "/api/v1/pods";
    options.field_selector = "spec.nodeName=" + node_name_;
    options.user_agent = kUserAgent;
    options.paginate = false;
    options.confirm_deletes = true;
    options.accept = [node = node_name_](const json::value& object) {
        return json::get_string(object, {"spec", "nodeName"}) == node;
    };
    k8s::ReflectorCallbacks callbacks;
    callbacks.on_upsert = [this](const json::value& object) {
        const auto pod = k8s::pod_from_json(object);
        if (!pod) {
            log::warn("a pod cannot be read", {{"error", pod.error().message}});
            return;
        }
        upsert(*pod);
    };
    callbacks.on_delete = [this](std::string_view, std::string_view uid, const json::value*) {
        remove(uid);
    };
    callbacks.on_synced = [this] { on_change_(); };
    {
        const std::lock_guard lock(mutex_);
        client_ = client.with_user_agent(std::string(kUserAgent));
        reflector_ =
            std::make_unique<k8s::Reflector>(*client_, std::move(options), std::move(callbacks));
    }
    reflector_->start();
}

void PodsView::stop() {
    if (reflector_) reflector_->stop();
}

void PodsView::upsert(const k8s::Pod& pod, bool watched) {
    if (pod.node_name != node_name_ || pod.meta.uid.empty()) return;
    auto next = std::make_shared<const NodePod>(node_pod(pod));
    {
        const std::lock_guard lock(mutex_);
        Entry& entry = pods_[next->api_uid];
        entry.watched = entry.watched || watched;
        if (entry.pod && *entry.pod == *next) return;
        if (!entry.pod) entry.order = ++next_order_;
        entry.pod = next;
    }
    if (!next->problem.empty()) {
        log::warn(
            "pod with a wrong GPU request or placement",
            {{"pod", next->ns + "/" + next->name}, {"problem", next->problem}}
        );
    }
    if (!next->request.empty()) on_change_();
}

void PodsView::remove(std::string_view api_uid) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = pods_.find(api_uid);
        if (found == pods_.end()) return;
        gone_.push_back(found->second.pod->uid);
        if (gone_.size() > kRememberGone) gone_.pop_front();
        pods_.erase(found);
    }
    on_change_();
}

NodePodPtr PodsView::by_uid(std::string_view uid) const {
    const std::lock_guard lock(mutex_);
    const auto found = pods_.find(uid);
    if (found != pods_.end() && found->second.pod->uid == uid) return found->second.pod;
    for (const auto& [key, entry] : pods_) {
        if (entry.pod->uid == uid) return entry.pod;
    }
    return nullptr;
}

NodePodPtr PodsView::by_name(std::string_view ns, std::string_view name) const {
    const std::lock_guard lock(mutex_);
    NodePodPtr newest;
    std::uint64_t order = 0;
    for (const auto& [key, entry] : pods_) {
        if (entry.pod->name != name || entry.pod->ns != ns || entry.order < order) continue;
        order = entry.order;
        newest = entry.pod;
    }
    return newest;
}

bool PodsView::ended(std::string_view uid) const {
    if (const NodePodPtr known = by_uid(uid)) return known->terminal;
    const std::lock_guard lock(mutex_);
    return std::find(gone_.begin(), gone_.end(), uid) != gone_.end();
}

std::vector<NodePodPtr> PodsView::all() const {
    std::vector<std::pair<std::uint64_t, NodePodPtr>> pods;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [key, entry] : pods_) pods.emplace_back(entry.order, entry.pod);
    }
    std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) {
        return a.first < b.first;
    });
    std::vector<NodePodPtr> out;
    out.reserve(pods.size());
    for (auto& [order, pod] : pods) out.push_back(std::move(pod));
    return out;
}

Result<NodePodPtr> PodsView::fetch(std::string_view ns, std::string_view name, TimePoint deadline) {
    std::optional<k8s::Client> client;
    {
        const std::lock_guard lock(mutex_);
        if (!client_) return Error{ErrorCode::kUnavailable, "no API server is configured"};
        if (last_failure_ && MonoClock::now() - *last_failure_ < kRetryFetch) {
            return Error{ErrorCode::kUnavailable, "the API server did not answer a moment ago"};
        }
        client = client_;
    }
    k8s::Call call(deadline);
    call.retry = false;
    const auto pod = client->get_pod(ns, name, call);
    {
        const std::lock_guard lock(mutex_);
        const bool unreachable = !pod && (pod.error().code == ErrorCode::kUnavailable ||
                                          pod.error().code == ErrorCode::kDeadline);
        if (unreachable) {
            last_failure_ = MonoClock::now();
        } else {
            last_failure_.reset();
        }
    }
    if (!pod) return pod.error();
    upsert(*pod, false);
    return std::make_shared<const NodePod>(node_pod(*pod));
}

PodFate PodsView::fate(
    std::string_view uid, std::string_view ns, std::string_view name, TimePoint deadline
) {
    const NodePodPtr known = by_uid(uid);
    bool watched = false;
    {
        const std::lock_guard lock(mutex_);
        if (!known && std::find(gone_.begin(), gone_.end(), uid) != gone_.end())
            return PodFate::kGone;
        const auto found = known ? pods_.find(known->api_uid) : pods_.end();
        watched = found != pods_.end() && found->second.watched;
    }
    if (known && (watched || known->terminal))
        return known->terminal ? PodFate::kTerminal : PodFate::kHere;
    if (!connected() || uid.empty()) return PodFate::kUnknown;
    if (known) {
        ns = known->ns;
        name = known->name;
    }
    if (name.empty()) return PodFate::kGone;  // not among all pods of this node, as of a live watch
    if (const NodePodPtr other = by_name(ns, name); other && other->uid != uid)
        return PodFate::kGone;
    const auto pod = fetch(ns, name, deadline);
    if (pod && (*pod)->uid == uid) return (*pod)->terminal ? PodFate::kTerminal : PodFate::kHere;
    if (!pod && pod.error().code != ErrorCode::kNotFound) return PodFate::kUnknown;
    if (known) remove(known->api_uid);
    return PodFate::kGone;
}

bool PodsView::synced() const {
    const std::lock_guard lock(mutex_);
    return reflector_ && reflector_->synced();
}

bool PodsView::connected() const {
    const std::lock_guard lock(mutex_);
    return reflector_ && reflector_->synced() && reflector_->watching();
}

std::string PodsView::last_error() const {
    const std::lock_guard lock(mutex_);
    return reflector_ ? reflector_->last_error() : "no API server is configured";
}

}  // namespace egpu::agent
