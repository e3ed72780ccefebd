#include "sim/scheduler_cache.h"

#include <algorithm>
#include <tuple>

namespace egpu::sim {

Amounts Snapshot::used(const std::string& node, const SchedPod& pod) const {
    Amounts out;
    if (const auto here = pods.find(node); here != pods.end()) {
        for (const auto& p : here->second) add_to(out, *p);
    }
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

namespace {

// Removes all less important pods, then takes back as many as possible, the most important first.
std::vector<std::shared_ptr<const SchedPod>> victims_on(
    const SchedPod& pod, const SchedNode& node, const Snapshot& snapshot
) {
    std::vector<std::shared_ptr<const SchedPod>> lower;
    Amounts used;
    if (const auto here = snapshot.pods.find(node.name); here != snapshot.pods.end()) {
        for (const auto& p : here->second) {
            if (p->priority < pod.priority) {
                lower.push_back(p);
            } else {
                add_to(used, *p);
            }
        }
    }
    if (lower.empty() || !why_not(pod, node, used).reason.empty()) return {};
    std::sort(lower.begin(), lower.end(), [](const auto& a, const auto& b) {
        return std::tie(b->priority, a->uid) < std::tie(a->priority, b->uid);
    });
    std::vector<std::shared_ptr<const SchedPod>> victims;
    for (const auto& candidate : lower) {
        Amounts with = used;
        add_to(with, *candidate);
        if (why_not(pod, node, with).reason.empty()) {
            used = std::move(with);
        } else {
            victims.push_back(candidate);
        }
    }
    return victims;
}

}  // namespace

Victims find_victims(
    const SchedPod& pod, const Snapshot& snapshot, const std::set<std::string>& candidates
) {
    Victims out;
    for (const auto& node : snapshot.nodes) {
        if (!candidates.contains(node->name)) continue;
        auto victims = victims_on(pod, *node, snapshot);
        if (!victims.empty()) out[node->name] = std::move(victims);
    }
    return out;
}

Result<Victims> narrowed(
    const Victims& proposed,
    const std::map<std::string, std::vector<std::string>>& answer,
    const Snapshot& snapshot
) {
    Victims out;
    for (const auto& [node, uids] : answer) {
        const auto here = snapshot.pods.find(node);
        if (!proposed.contains(node) || here == snapshot.pods.end()) continue;
        for (const std::string& uid : uids) {
            const auto pod = std::find_if(here->second.begin(), here->second.end(), [&](auto& p) {
                return p->uid == uid;
            });
            if (pod == here->second.end()) {
                return Error{
                    ErrorCode::kInvalid,
                    "extender claims to preempt pod (UID: " + uid + ") on node: " + node +
                        ", but the pod is not found on that node"};
            }
            out[node].push_back(*pod);
        }
    }
    return out;
}

std::optional<std::string> least_harm(const Victims& victims) {
    std::optional<std::string> best;
    std::tuple<std::int64_t, std::int64_t, std::size_t> best_harm;
    for (const auto& [node, pods] : victims) {
        if (pods.empty()) continue;
        std::int64_t highest = pods.front()->priority;
        std::int64_t sum = 0;
        for (const auto& p : pods) {
            highest = std::max(highest, p->priority);
            sum += p->priority;
        }
        const std::tuple harm{highest, sum, pods.size()};
        if (best && best_harm <= harm) continue;
        best = node;
        best_harm = harm;
    }
    return best;
}

}  // namespace egpu::sim
