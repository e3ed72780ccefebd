#include "sim/scheduler_cache.h"

#include <utility>

namespace egpu::sim {

Amounts Snapshot::used(const std::string& node, const SchedPod& pod) const {
    Amounts out = promised(node, pod);
    if (const auto here = pods.find(node); here != pods.end()) {
        for (const auto& p : here->second) add_to(out, *p);
    }
    return out;
}

Amounts Snapshot::promised(const std::string& node, const SchedPod& pod) const {
    Amounts out;
    if (const auto waiting = nominated.find(node); waiting != nominated.end()) {
        for (const auto& p : waiting->second) {
            if (p->uid != pod.uid && p->priority >= pod.priority) add_to(out, *p);
        }
    }
    return out;
}

bool SchedulerCache::upsert_node(SchedNode node) {
    auto& slot = nodes_[node.name];
    const bool helps = slot == nullptr || !same_for_scheduling(*slot, node);
    slot = std::make_shared<const SchedNode>(std::move(node));
    return helps;
}

bool SchedulerCache::remove_node(const std::string& name) {
    return nodes_.erase(name) > 0;
}

bool SchedulerCache::upsert_pod(SchedPod pod) {
    const std::string uid = pod.uid;
    auto& slot = pods_[uid];
    const bool was_assigned = slot != nullptr && !slot->node.empty();
    const bool assigned = !pod.node.empty();
    const bool changed = slot == nullptr || slot->deleting != pod.deleting;
    slot = std::make_shared<const SchedPod>(std::move(pod));
    if (assigned) {
        assumed_.erase(uid);
        nominated_.erase(uid);
    }
    return assigned && (!was_assigned || changed);
}

bool SchedulerCache::remove_pod(const std::string& uid) {
    const bool held = !node_of(uid).empty() || nominated_.contains(uid);
    pods_.erase(uid);
    assumed_.erase(uid);
    nominated_.erase(uid);
    return held;
}

void SchedulerCache::assume(const std::string& uid, const std::string& node) {
    if (pods_.contains(uid)) assumed_[uid] = node;
}

void SchedulerCache::forget(const std::string& uid) {
    assumed_.erase(uid);
}

void SchedulerCache::nominate(const std::string& uid, const std::string& node) {
    if (!pods_.contains(uid)) return;
    if (node.empty()) {
        nominated_.erase(uid);
    } else {
        nominated_[uid] = node;
    }
}

std::shared_ptr<const SchedPod> SchedulerCache::pod(const std::string& uid) const {
    const auto found = pods_.find(uid);
    return found == pods_.end() ? nullptr : found->second;
}

std::string SchedulerCache::node_of(const std::string& uid) const {
    const auto found = pods_.find(uid);
    if (found != pods_.end() && !found->second->node.empty()) return found->second->node;
    const auto assumed = assumed_.find(uid);
    return assumed == assumed_.end() ? "" : assumed->second;
}

std::string SchedulerCache::nominated_node(const std::string& uid) const {
    const auto found = nominated_.find(uid);
    return found == nominated_.end() ? "" : found->second;
}

Snapshot SchedulerCache::snapshot() const {
    Snapshot out;
    for (const auto& [name, node] : nodes_) out.nodes.push_back(node);
    for (const auto& [uid, pod] : pods_) {
        const std::string node = node_of(uid);
        if (!node.empty()) {
            out.pods[node].push_back(pod);
        } else if (const auto nominated = nominated_.find(uid); nominated != nominated_.end()) {
            out.nominated[nominated->second].push_back(pod);
        }
    }
    return out;
}

}  // namespace egpu::sim
