// The pods that are bound to this node, as the API server tells, with what each container asks for
// and the cards its placement names. Advice only: nothing on the node waits for it, and offline
// evidence frees nothing.
//
// LIST + WATCH without pagination under one constant User-Agent, filtered here as well (caches at
// the edge ignore selectors). Static pods are known by the kubelet's UID (annotation
// kubernetes.io/config.hash). Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/node_ledger.h"
#include "base/clock.h"
#include "base/result.h"
#include "core/placement.h"
#include "core/request.h"
#include "k8s/client.h"
#include "k8s/objects.h"
#include "k8s/watch.h"

namespace egpu::agent {

struct NodePod {
    std::string uid;      // the kubelet's
    std::string api_uid;  // the API server's; differs for static pods
    std::string ns;
    std::string name;
    bool terminal = false;
    core::PodRequest request;  // empty when the pod asks for no GPU, or for something impossible
    std::optional<core::Placement> placement;
    std::string problem;  // why the request or the placement cannot be read

    const core::ContainerPlacement* placed(std::string_view container) const;
    bool operator==(const NodePod&) const = default;
};
using NodePodPtr = std::shared_ptr<const NodePod>;

// Pure.
NodePod node_pod(const k8s::Pod& pod);

// The containers of `pod` that ask for `units` of `resource` (0: any number), in spec order, with
// their planned cards. Indexes without UUIDs (nano-gpu's annotations) are resolved with `cards`; a
// plan that does not resolve is left out. Pure.
std::vector<Candidate> candidates_of(
    const NodePod& pod, Resource resource, int units, const std::vector<core::Card>& cards
);

enum class PodFate { kHere, kTerminal, kGone, kUnknown };

class PodsView {
  public:
    // `on_change` runs on the watch's thread after each relevant change, without locks held.
    PodsView(std::string node_name, std::function<void()> on_change);
    ~PodsView();  // stop()
    PodsView(const PodsView&) = delete;
    PodsView& operator=(const PodsView&) = delete;

    // Once; before it, and without it, the view is empty and fetch() refuses.
    void start(const k8s::Client& client);
    void stop();

    NodePodPtr by_uid(std::string_view uid) const;
    NodePodPtr by_name(std::string_view ns, std::string_view name) const;
    std::vector<NodePodPtr> all() const;  // in order of arrival

    // The pod from the API server itself, and into the view when it is of this node. kUnavailable
    // at once when the last attempt failed less than a few seconds ago: admission must not wait for
    // a dead link again and again.
    Result<NodePodPtr> fetch(std::string_view ns, std::string_view name, TimePoint deadline);

    // kGone only on live evidence: a DELETED event, a real NotFound, another pod of that name, or
    // (where the name is not known) absence from the view of a live watch. May do a GET.
    PodFate fate(
        std::string_view uid, std::string_view ns, std::string_view name, TimePoint deadline
    );

    // Has this pod finished, or was it deleted, as far as the view remembers? From this moment on a
    // scheduler counts its share as free. No proof for the node (see above).
    bool ended(std::string_view uid) const;

    bool synced() const;
    bool connected() const;  // a watch is open and has proved itself
    std::string last_error() const;

    // For tests and for the reflector. `watched`: the watch will also tell when it is gone.
    void upsert(const k8s::Pod& pod, bool watched = true);
    void remove(std::string_view api_uid);

  private:
    struct Entry {
        std::uint64_t order = 0;
        NodePodPtr pod;
        // False for a pod that only fetch() has seen: when it is deleted while the watch is broken,
        // no event and no list will ever say so.
        bool watched = false;
    };

    const std::string node_name_;
    const std::function<void()> on_change_;
    mutable std::mutex mutex_;
    std::map<std::string, Entry, std::less<>> pods_;  // by the API server's UID
    std::deque<std::string> gone_;                    // kubelet UIDs seen deleted, the newest last
    std::uint64_t next_order_ = 0;
    std::optional<TimePoint> last_failure_;
    std::optional<k8s::Client> client_;
    std::unique_ptr<k8s::Reflector> reflector_;
};

}  // namespace egpu::agent
