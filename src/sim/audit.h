// Is everything as it must be? Looks at one cluster from all sides at once (API server, kubelets,
// containers' environment, extender's /status, simulated cards) and names every contradiction.
//
// Two questions: unsafe() must be empty at any instant, also in the middle of crashes; what
// disagrees() says must vanish once nothing moves. Both are pure functions of a ClusterView.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "base/stop.h"
#include "core/card.h"
#include "core/placement.h"
#include "core/request.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

class Cluster;

// A pod as the API server has it.
struct PodView {
    std::string uid;
    std::string key;  // namespace/name
    std::string node;
    std::string phase;
    std::string reason;   // of status, or of PodScheduled=False
    std::string message;  // likewise
    bool deleting = false;
    core::PodRequest request;
    std::string request_error;  // the request is not valid: no GPU will ever be given
    std::optional<core::Placement> placement;
    std::string placement_error;

    bool terminal() const { return phase == "Succeeded" || phase == "Failed"; }
    bool holds_cards() const { return !node.empty() && !terminal() && !request.empty(); }
};

struct NodeView {
    std::string name;
    std::vector<core::Card> cards;                    // as the simulated hardware has them
    std::map<std::string, bool> healthy;              // by UUID, as the agent publishes
    std::map<std::string, std::int64_t> allocatable;  // the kubelet's
    std::vector<testing::PodStatus> pods;             // the kubelet's
};

struct ClusterView {
    std::vector<PodView> pods;
    std::vector<NodeView> nodes;
    std::optional<json::value> extender;  // /status; nullopt when it does not answer
    std::string extender_error;
};

// `ask_extender`: without it only what is in this process is looked at (fast).
ClusterView look_at(const Cluster& cluster, bool ask_extender);

PodView pod_view(const json::value& pod);

// No card above 100 percent by what running containers were given; no bound GPU pod and no running
// GPU container without its placement.
std::vector<std::string> unsafe(const ClusterView& view);

// No card above 100 percent by the annotations: not part of unsafe(), for when an agent had to give
// a container another card, that card may be planned for a pod which the kubelet has not admitted
// yet; it will be given another one, too. Annotation = environment for every container, with as
// many device IDs as it asked for; kubelets and API server know the same pods; the extender's
// account equals the annotations, without reservations or guesses; devices are withdrawn exactly
// where a card is used through the other resource, but for those that a container holds which was
// given another card (so nothing leaks). Pods that wait for room are
// no contradiction.
std::vector<std::string> disagrees(const ClusterView& view);

// Containers that were given other cards than their device IDs name. Right as long as everybody
// else agrees (an agent does it when the card of the IDs has no room), but never needed in a calm
// cluster; a kubelet that is restarted in the middle of an admission can cause it.
std::vector<std::string> overridden(const ClusterView& view);

enum class Overrides { kNone, kAllowed };

// Polls until unsafe(), disagrees() and (unless allowed) overridden() are empty. The error lists
// what is left after `timeout`; an unsafe view fails at once.
Status settle(
    Cluster& cluster,
    Duration timeout,
    const StopToken& stop,
    Overrides overrides = Overrides::kNone
);

// Percent of each card (by UUID) that the containers of one pod hold: the peak over init
// containers, sidecars and containers. `placed`: by container, the cards and percents.
using CardPercents = std::map<std::string, int>;
CardPercents pod_use(
    const core::PodRequest& request,
    const std::map<std::string, std::vector<core::CardShare>>& placed
);

// The UUIDs in NVIDIA_VISIBLE_DEVICES; empty for "void", "none" and when it is not set.
std::vector<std::string> visible_devices(const testing::ContainerStatus& container);

}  // namespace egpu::sim
