#include "sim/preemption.h"

#include <algorithm>
#include <tuple>

namespace egpu::sim {

using testing::Dialect;

std::string why_not_eligible(
    const SchedPod& pod,
    const Snapshot& snapshot,
    const std::string& nominated,
    const std::set<std::string>& unresolvable,
    Dialect dialect
) {
    if (!pod.preempts) return "not eligible due to preemptionPolicy=Never.";
    if (nominated.empty() || unresolvable.contains(nominated)) return "";
    const auto here = snapshot.pods.find(nominated);
    if (here == snapshot.pods.end()) return "";
    const bool waits = std::any_of(here->second.begin(), here->second.end(), [&](const auto& p) {
        return p->deleting && p->priority < pod.priority &&
               (p->preempted || dialect == Dialect::k1_21);
    });
    return waits ? "not eligible due to a terminating pod on the nominated node." : "";
}

namespace {

struct Trial {
    std::vector<std::shared_ptr<const SchedPod>> victims;
    std::string reason;  // not empty: no eviction helps
};

// Removes all less important pods, then takes back as many as possible, the most important first.
Trial try_node(const SchedPod& pod, const SchedNode& node, const Snapshot& snapshot) {
    Trial out;
    std::vector<std::shared_ptr<const SchedPod>> lower;
    Amounts used = snapshot.promised(node.name, pod);
    if (const auto here = snapshot.pods.find(node.name); here != snapshot.pods.end()) {
        for (const auto& p : here->second) {
            if (p->priority < pod.priority) {
                lower.push_back(p);
            } else {
                add_to(used, *p);
            }
        }
    }
    if (lower.empty()) {
        out.reason = "No preemption victims found for incoming pod";
        return out;
    }
    out.reason = why_not(pod, node, used).reason;
    if (!out.reason.empty()) return out;
    std::sort(lower.begin(), lower.end(), [](const auto& a, const auto& b) {
        return std::tie(b->priority, a->uid) < std::tie(a->priority, b->uid);
    });
    for (const auto& candidate : lower) {
        Amounts with = used;
        add_to(with, *candidate);
        if (why_not(pod, node, with).reason.empty()) {
            used = std::move(with);
        } else {
            out.victims.push_back(candidate);
        }
    }
    return out;
}

}  // namespace

DryRun dry_run(
    const SchedPod& pod,
    const Snapshot& snapshot,
    const std::set<std::string>& unresolvable,
    Dialect dialect
) {
    DryRun out;
    for (const auto& node : snapshot.nodes) {
        if (unresolvable.contains(node->name)) continue;
        Trial trial = try_node(pod, *node, snapshot);
        if (!trial.reason.empty()) {
            out.reasons[node->name] = trial.reason;
        } else if (trial.victims.empty() && dialect == Dialect::k1_34) {
            out.errors.push_back("expected at least one victim pod on node \"" + node->name + "\"");
        } else {
            out.candidates[node->name] = std::move(trial.victims);
        }
    }
    return out;
}

std::string no_candidates_text(const DryRun& tried, std::size_t nodes) {
    if (tried.errors.size() == 1) return tried.errors.front();
    if (!tried.errors.empty()) {
        std::string out;
        for (const std::string& error : tried.errors) out += (out.empty() ? "" : ", ") + error;
        return "[" + out + "]";
    }
    return unavailable_text(nodes, tried.reasons, "Preemption is not helpful for scheduling");
}

Result<Victims> narrowed(
    const Victims& proposed,
    const std::map<std::string, std::vector<std::string>>& answer,
    const Snapshot& snapshot,
    Dialect dialect
) {
    Victims out;
    for (const auto& [node, uids] : answer) {
        const auto here = snapshot.pods.find(node);
        if (!proposed.contains(node) || here == snapshot.pods.end()) continue;
        auto& pods = out[node];
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
            pods.push_back(*pod);
        }
        if (pods.empty() && dialect == Dialect::k1_34) {
            return Error{
                ErrorCode::kInvalid, "expected at least one victim pod on node \"" + node + "\""};
        }
    }
    return out;
}

std::optional<std::string> least_harm(const Victims& victims) {
    std::optional<std::string> best;
    std::tuple<std::int64_t, std::int64_t, std::size_t> best_harm;
    for (const auto& [node, pods] : victims) {
        if (pods.empty()) return node;
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
