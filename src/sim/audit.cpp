#include "sim/audit.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/log.h"
#include "gpu/cards_annotation.h"
#include "k8s/codec.h"
#include "k8s/placement_annotations.h"
#include "sim/cluster.h"

namespace egpu::sim {

namespace {

using Lines = std::vector<std::string>;

std::string join(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ",") + item;
    return out.empty() ? "none" : out;
}

std::map<std::string, std::vector<core::CardShare>> by_container(const core::Placement& placement) {
    std::map<std::string, std::vector<core::CardShare>> out;
    for (const auto& c : placement.containers) out[c.container] = c.cards;
    return out;
}

std::vector<std::string> uuids_of(const std::vector<core::CardShare>& cards) {
    std::vector<std::string> out;
    for (const auto& card : cards) out.push_back(card.uuid);
    std::sort(out.begin(), out.end());
    return out;
}

const core::ContainerRequest* request_of(const PodView& pod, const std::string& container) {
    for (const auto& c : pod.request.containers) {
        if (c.name == container) return &c;
    }
    return nullptr;
}

void check_sums(const std::string& where, const CardPercents& sums, Lines& out) {
    for (const auto& [uuid, percent] : sums) {
        if (percent <= core::kCardUnits) continue;
        out.push_back(
            where + ": card " + uuid + " carries " + std::to_string(percent) + " percent"
        );
    }
}

void add(CardPercents& sums, const CardPercents& more) {
    for (const auto& [uuid, percent] : more) sums[uuid] += percent;
}

// What the node's pods hold by their annotations.
CardPercents annotated_use(const ClusterView& view, const std::string& node) {
    CardPercents sums;
    for (const PodView& pod : view.pods) {
        if (pod.node != node || !pod.holds_cards() || !pod.placement) continue;
        add(sums, pod_use(pod.request, by_container(*pod.placement)));
    }
    return sums;
}

// The UUID in a device ID of either resource.
std::string card_of(const std::string& device_id) {
    return device_id.substr(0, device_id.find("::"));
}

const PodView* find_pod(const ClusterView& view, const std::string& uid) {
    for (const PodView& pod : view.pods) {
        if (pod.uid == uid) return &pod;
    }
    return nullptr;
}

// What the containers that run right now were given, as shares of the size they asked for.
void check_running(const ClusterView& view, const NodeView& node, Lines& out) {
    CardPercents sums;
    for (const testing::PodStatus& status : node.pods) {
        const PodView* pod = find_pod(view, status.uid);
        if (pod == nullptr) continue;  // deleted by force a moment ago, or the view is older
        std::map<std::string, std::vector<core::CardShare>> given;
        for (const testing::ContainerStatus& c : status.containers) {
            const auto* asked = request_of(*pod, c.name);
            if (asked == nullptr || c.state != testing::ContainerState::kRunning) continue;
            const auto cards = visible_devices(c);
            const std::string who = node.name + ": container " + c.name + " of " + pod->key;
            if (cards.empty()) out.push_back(who + " runs without its cards");
            for (const std::string& uuid : cards) {
                const bool here =
                    std::any_of(node.cards.begin(), node.cards.end(), [&](const auto& k) {
                        return k.uuid == uuid;
                    });
                if (!here)
                    out.push_back(who + " was given " + uuid + ", which is not on this node");
                given[c.name].push_back({uuid, 0, asked->percent, 0});
            }
        }
        add(sums, pod_use(pod->request, given));
    }
    check_sums(node.name + ", by what running containers were given", sums, out);
}

// ---- contradictions

void compare_container(
    const NodeView& node, const PodView& pod, const testing::ContainerStatus& c, Lines& out
) {
    const auto* asked = request_of(pod, c.name);
    if (asked == nullptr) return;
    const std::string who = node.name + ": container " + c.name + " of " + pod.key;
    if (c.kind != testing::ContainerKind::kInit && c.state != testing::ContainerState::kRunning) {
        out.push_back(who + " is not running (" + c.reason + " " + c.message + ")");
        return;
    }
    auto given = visible_devices(c);
    std::sort(given.begin(), given.end());
    std::vector<std::string> placed;
    if (pod.placement) {
        const auto all = by_container(*pod.placement);
        if (const auto found = all.find(c.name); found != all.end())
            placed = uuids_of(found->second);
    }
    if (given != placed) {
        out.push_back(who + " was given " + join(given) + ", its placement says " + join(placed));
    }
    const auto held = c.ids.find(std::string(asked->resource));
    const std::size_t count = held == c.ids.end() ? 0 : held->second.size();
    if (count != static_cast<std::size_t>(asked->units())) {
        out.push_back(
            who + " holds " + std::to_string(count) + " devices of " +
            std::string(asked->resource) + " instead of " + std::to_string(asked->units())
        );
    }
}

// Its device IDs name other cards than those it was given.
bool is_overridden(const testing::ContainerStatus& c, const core::ContainerRequest& asked) {
    std::set<std::string> by_ids;
    if (const auto held = c.ids.find(std::string(asked.resource)); held != c.ids.end()) {
        for (const std::string& id : held->second) by_ids.insert(card_of(id));
    }
    const auto given = visible_devices(c);
    return std::set<std::string>(given.begin(), given.end()) != by_ids;
}

void compare_kubelet(const ClusterView& view, const NodeView& node, Lines& out) {
    std::set<std::string> known;
    for (const testing::PodStatus& status : node.pods) {
        known.insert(status.uid);
        const PodView* pod = find_pod(view, status.uid);
        const std::string key = status.ns + "/" + status.name;
        if (pod == nullptr) {
            out.push_back(node.name + ": the kubelet has " + key + ", the API server has not");
            continue;
        }
        if (pod->phase != testing::to_string(status.phase)) {
            out.push_back(
                node.name + ": " + key + " is " + std::string(testing::to_string(status.phase)) +
                " for the kubelet and " + pod->phase + " for the API server"
            );
        }
        if (pod->terminal() || pod->deleting) continue;
        for (const auto& c : status.containers) compare_container(node, *pod, c, out);
    }
    for (const PodView& pod : view.pods) {
        if (pod.node != node.name) continue;
        if (pod.deleting) out.push_back(node.name + ": " + pod.key + " is still being deleted");
        if (!pod.terminal() && !known.contains(pod.uid)) {
            out.push_back(node.name + ": the kubelet does not have " + pod.key);
        }
    }
}

// Device IDs of `resource` that containers of pods which have not ended hold, by the card that the
// ID names; another one than they were given where the agent had to override the kubelet's choice.
std::map<std::string, std::set<std::string>> held_ids(
    const NodeView& node, std::string_view resource
) {
    std::map<std::string, std::set<std::string>> out;
    for (const testing::PodStatus& pod : node.pods) {
        if (pod.phase == testing::PodPhase::kSucceeded || pod.phase == testing::PodPhase::kFailed) {
            continue;
        }
        for (const testing::ContainerStatus& c : pod.containers) {
            const auto held = c.ids.find(std::string(resource));
            if (held == c.ids.end()) continue;
            for (const std::string& id : held->second) {
                out[card_of(id)].insert(id);
            }
        }
    }
    return out;
}

// A leaked share (or one that was forgotten) shows in what the node still offers. A card that is
// used through the other resource offers just the IDs that are held: withdrawing these would make
// the kubelet refuse their pods when it restarts.
void compare_allocatable(const ClusterView& view, const NodeView& node, Lines& out) {
    std::set<std::string> shared;
    std::set<std::string> whole;
    for (const PodView& pod : view.pods) {
        if (pod.node != node.name || !pod.holds_cards() || !pod.placement) continue;
        const auto placed = by_container(*pod.placement);
        for (const auto& c : pod.request.containers) {
            auto& used = c.resource == core::kResourceWhole ? whole : shared;
            const auto found = placed.find(c.name);
            if (found == placed.end()) continue;
            for (const auto& card : found->second) used.insert(card.uuid);
        }
    }
    std::map<std::string, std::int64_t> expected;
    const auto expect = [&](std::string_view resource, int of_a_card, const auto& used_otherwise) {
        auto held = held_ids(node, resource);
        std::int64_t& sum = expected[std::string(resource)];
        for (const core::Card& card : node.cards) {
            const auto health = node.healthy.find(card.uuid);
            if (health == node.healthy.end() || !health->second) continue;
            sum += used_otherwise.contains(card.uuid)
                       ? static_cast<std::int64_t>(held[card.uuid].size())
                       : of_a_card;
        }
    };
    expect(core::kResourcePercent, core::kCardUnits, whole);
    expect(core::kResourceWhole, 1, shared);
    for (const auto& [resource, count] : expected) {
        const auto found = node.allocatable.find(resource);
        const std::int64_t offered = found == node.allocatable.end() ? 0 : found->second;
        if (offered == count) continue;
        out.push_back(
            node.name + ": offers " + std::to_string(offered) + " " + resource + ", " +
            std::to_string(count) + " by what its pods hold"
        );
    }
}

void compare_extender(const ClusterView& view, const NodeView& node, Lines& out) {
    const json::value* page = json::find(*view.extender, {node.name});
    const auto* cards = page == nullptr ? nullptr : json::get_array(*page, {"GPUs"});
    if (cards == nullptr) {
        out.push_back(node.name + ": the extender does not know this node");
        return;
    }
    const CardPercents annotated = annotated_use(view, node.name);
    std::set<std::string> listed;
    for (const json::value& card : *cards) {
        const std::string uuid(json::get_string(card, {"UUID"}));
        listed.insert(uuid);
        const auto free = json::get_int(card, {"Percent"}).value_or(-1);
        const auto found = annotated.find(uuid);
        const int used = found == annotated.end() ? 0 : found->second;
        const bool healthy = json::get_bool(card, {"Healthy"}, true);
        if (healthy && free != core::kCardUnits - used) {
            out.push_back(
                node.name + ": card " + uuid + " has " + std::to_string(free) +
                " percent free for the extender and " + std::to_string(core::kCardUnits - used) +
                " by the annotations"
            );
        }
        const auto* holders = json::get_array(card, {"Holders"});
        if (holders == nullptr) continue;
        for (const json::value& holder : *holders) {
            const std::string uid(json::get_string(holder, {"UID"}));
            const std::string who = node.name + ": the extender's holder " +
                                    std::string(json::get_string(holder, {"Pod"})) + " of " + uuid;
            const PodView* pod = find_pod(view, uid);
            if (pod == nullptr || !pod->holds_cards()) out.push_back(who + " is gone");
            if (json::get_bool(holder, {"Reserved"})) out.push_back(who + " is only reserved");
            if (json::get_bool(holder, {"Guessed"})) out.push_back(who + " is only a guess");
        }
    }
    for (const core::Card& card : node.cards) {
        if (!listed.contains(card.uuid)) {
            out.push_back(node.name + ": the extender does not know card " + card.uuid);
        }
    }
    const auto* unplaced = json::get_array(*page, {"Unplaced"});
    if (unplaced != nullptr && !unplaced->empty()) {
        out.push_back(
            node.name +
            ": unplaced for the extender: " + json::to_text(*json::find(*page, {"Unplaced"}))
        );
    }
}

}  // namespace

std::vector<std::string> visible_devices(const testing::ContainerStatus& container) {
    const auto found = container.given.envs.find("NVIDIA_VISIBLE_DEVICES");
    std::vector<std::string> out;
    if (found == container.given.envs.end()) return out;
    const std::string_view text = found->second;
    if (text.empty() || text == "void" || text == "none") return out;
    for (std::size_t at = 0; at <= text.size();) {
        const auto comma = std::min(text.find(',', at), text.size());
        out.emplace_back(text.substr(at, comma - at));
        at = comma + 1;
    }
    return out;
}

CardPercents pod_use(
    const core::PodRequest& request,
    const std::map<std::string, std::vector<core::CardShare>>& placed
) {
    CardPercents sidecars;
    CardPercents peak;
    CardPercents running;
    const auto raise = [&peak](const CardPercents& sums) {
        for (const auto& [uuid, percent] : sums) peak[uuid] = std::max(peak[uuid], percent);
    };
    for (const auto& c : request.containers) {
        const auto found = placed.find(c.name);
        if (found == placed.end()) continue;
        CardPercents own;
        for (const auto& card : found->second) own[card.uuid] += c.percent;
        if (c.kind == core::ContainerKind::kSidecar) add(sidecars, own);
        if (c.kind == core::ContainerKind::kApp) add(running, own);
        if (c.kind == core::ContainerKind::kInit) {
            add(own, sidecars);
            raise(own);
        }
    }
    add(running, sidecars);
    raise(running);
    return peak;
}

PodView pod_view(const json::value& object) {
    PodView out;
    auto pod = k8s::pod_from_json(object);
    if (!pod) {
        out.request_error = pod.error().message;
        return out;
    }
    out.uid = pod->meta.uid;
    out.key = pod->meta.key();
    out.node = pod->node_name;
    out.phase = pod->phase;
    out.deleting = pod->meta.deleting;
    out.reason = json::get_string(object, {"status", "reason"});
    out.message = json::get_string(object, {"status", "message"});
    const auto* conditions = json::get_array(object, {"status", "conditions"});
    if (out.node.empty() && conditions != nullptr) {
        for (const json::value& c : *conditions) {
            if (json::get_string(c, {"type"}) != "PodScheduled") continue;
            out.reason = json::get_string(c, {"reason"});
            out.message = json::get_string(c, {"message"});
        }
    }
    auto request = core::parse_request(pod->containers, pod->meta.annotations);
    if (!request) {
        out.request_error = request.error().message;
        return out;
    }
    out.request = std::move(*request);
    auto placement = k8s::from_annotations(pod->meta.annotations, out.request);
    if (!placement) {
        out.placement_error = placement.error().message;
    } else if (*placement && !out.request.empty()) {
        out.placement = std::move(**placement);
    }
    return out;
}

ClusterView look_at(const Cluster& cluster, bool ask_extender) {
    ClusterView view;
    if (ask_extender) {
        auto page = Cluster::fetch(cluster.scheduler_url() + "/status", Seconds(2));
        auto parsed = page ? json::parse(*page) : Result<json::value>(page.error());
        if (parsed) {
            view.extender = std::move(*parsed);
        } else {
            view.extender_error = parsed.error().message;
        }
    }
    // The kubelets first: a pod that they know is then also in the list, unless it ended between.
    for (const auto& node : cluster.nodes()) {
        NodeView n;
        n.name = node->spec().name;
        n.cards = node->gpus().expected_cards();
        n.allocatable = node->kubelet().allocatable();
        n.pods = node->kubelet().pods();
        if (auto object = cluster.api().get({"nodes", "", n.name})) {
            const auto text =
                json::get_string(*object, {"metadata", "annotations", gpu::kAnnotationCards});
            if (auto cards = gpu::decode_cards(text)) {
                for (const auto& card : *cards) n.healthy[card.uuid] = card.healthy;
            }
        }
        view.nodes.push_back(std::move(n));
    }
    for (const json::value& pod : cluster.api().list("pods")) view.pods.push_back(pod_view(pod));
    return view;
}

std::vector<std::string> unsafe(const ClusterView& view) {
    Lines out;
    for (const PodView& pod : view.pods) {
        if (pod.holds_cards() && !pod.placement) {
            out.push_back(
                pod.key + " is bound to " + pod.node + " without a placement " + pod.placement_error
            );
        }
    }
    for (const NodeView& node : view.nodes) {
        check_running(view, node, out);
    }
    return out;
}

std::vector<std::string> disagrees(const ClusterView& view) {
    Lines out;
    if (!view.extender) out.push_back("the extender's /status: " + view.extender_error);
    for (const NodeView& node : view.nodes) {
        check_sums(node.name + ", by the pods' annotations", annotated_use(view, node.name), out);
        compare_kubelet(view, node, out);
        compare_allocatable(view, node, out);
        if (view.extender) compare_extender(view, node, out);
    }
    return out;
}

std::vector<std::string> overridden(const ClusterView& view) {
    Lines out;
    for (const NodeView& node : view.nodes) {
        for (const testing::PodStatus& status : node.pods) {
            const PodView* pod = find_pod(view, status.uid);
            if (pod == nullptr || pod->terminal() || pod->deleting) continue;
            for (const testing::ContainerStatus& c : status.containers) {
                const auto* asked = request_of(*pod, c.name);
                if (asked == nullptr || !is_overridden(c, *asked)) continue;
                out.push_back(
                    node.name + ": container " + c.name + " of " + pod->key +
                    " was given other cards than its device IDs name: " + join(visible_devices(c))
                );
            }
        }
    }
    return out;
}

Status settle(Cluster& cluster, Duration timeout, const StopToken& stop, Overrides overrides) {
    const TimePoint until = MonoClock::now() + timeout;
    while (true) {
        auto lines = cluster.crashed();
        const ClusterView view = look_at(cluster, true);
        const auto dangers = unsafe(view);
        lines.insert(lines.end(), dangers.begin(), dangers.end());
        const bool at_once = !lines.empty();
        const auto rest = disagrees(view);
        lines.insert(lines.end(), rest.begin(), rest.end());
        if (overrides == Overrides::kNone) {
            const auto other = overridden(view);
            lines.insert(lines.end(), other.begin(), other.end());
        }
        if (lines.empty()) return ok_status();
        if (at_once || MonoClock::now() >= until) {
            std::string text = at_once ? "unsafe:" : "contradictions that stay:";
            for (const std::string& line : lines) text += "\n  " + line;
            return Error{ErrorCode::kInternal, text};
        }
        if (stop.wait_for(Millis(20))) return Error{ErrorCode::kStopped, "stopped"};
    }
}

}  // namespace egpu::sim
