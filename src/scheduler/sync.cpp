#include "scheduler/sync.h"

#include <malloc.h>

#include "base/log.h"
#include "base/metrics.h"
#include "http/message.h"
#include "k8s/codec.h"
#include "scheduler/node_cards.h"

namespace egpu::scheduler {
namespace {

constexpr std::string_view kPods = "/api/v1/pods";
constexpr std::string_view kLivePods = "status.phase!=Succeeded,status.phase!=Failed";
constexpr Duration kBackoffFirst = Millis(200);
constexpr Duration kBackoffMost = Seconds(5);
constexpr Duration kTick = Millis(500);
constexpr Duration kLookUpTime = Seconds(3);
constexpr std::size_t kMostReported = 10'000;

}  // namespace

Sync::Sync(State& state, k8s::Client client, k8s::EventRecorder* events)
    : state_(state), client_(std::move(client)), events_(events) {
    k8s::ReflectorOptions nodes;
    nodes.path = "/api/v1/nodes";
    // Quicker than at the edge: filter answers from what the watch has shown.
    nodes.backoff_first = kBackoffFirst;
    nodes.backoff_most = kBackoffMost;
    k8s::ReflectorCallbacks on_nodes;
    on_nodes.on_upsert = [this](const json::value& object) { on_node(object); };
    on_nodes.on_delete = [this](std::string_view key, std::string_view, const json::value*) {
        state_.remove_node(key);
        node_problems_.erase(std::string(key));
    };
    nodes_ = std::make_unique<k8s::Reflector>(client_, nodes, std::move(on_nodes));

    k8s::ReflectorOptions pods = nodes;
    pods.path = kPods;
    pods.field_selector = kLivePods;
    k8s::ReflectorCallbacks on_pods;
    on_pods.on_upsert = [this](const json::value& object) {
        on_pod(object, State::Source::kWatch);
    };
    on_pods.on_delete = [this](std::string_view, std::string_view uid, const json::value*) {
        state_.remove_pod(uid, MonoClock::now());
        const std::lock_guard lock(reported_mutex_);
        reported_.erase(std::string(uid));
    };
    // A list of thousands of pods leaves much memory unused: back to the node with it.
    on_pods.on_synced = [] { ::malloc_trim(0); };
    pods_ = std::make_unique<k8s::Reflector>(client_, pods, std::move(on_pods));
}

Sync::~Sync() {
    stop();
}

void Sync::start() {
    nodes_->start();
    pods_->start();
    housekeeper_ = std::thread([this] { housekeeping(); });
}

void Sync::stop() {
    stop_.request();
    nodes_->stop();
    pods_->stop();
    if (housekeeper_.joinable()) housekeeper_.join();
}

bool Sync::synced() const {
    return nodes_->synced() && pods_->synced();
}

std::string Sync::last_error() const {
    std::string error = nodes_->last_error();
    return error.empty() ? pods_->last_error() : error;
}

void Sync::on_node(const json::value& object) {
    const auto node = k8s::node_from_json(object);
    if (!node) {
        log::warn("node not understood", {{"error", node.error().message}});
        return;
    }
    const NodeCards cards = read_node_cards(*node);
    note_problem(node->meta.name, cards.problem);
    const bool has_gpu_fields = !cards.empty() || !node->percent_capacity.empty() ||
                                !node->percent_allocatable.empty() ||
                                !node->whole_capacity.empty() || !node->whole_allocatable.empty();
    if (has_gpu_fields) {
        state_.upsert_node(node->meta.name, cards.inventory);
    } else {
        state_.remove_node(node->meta.name);  // its pods stay accounted for
    }
}

// Once for each text: nodes are updated every few seconds.
void Sync::note_problem(const std::string& node, const std::string& problem) {
    if (problem.empty()) {
        node_problems_.erase(node);
        return;
    }
    std::string& noted = node_problems_[node];
    if (noted == problem) return;
    noted = problem;
    log::warn(
        "annotation edge-gpu.io/cards not believed, counting allocatable units instead",
        {{"node", node}, {"error", problem}}
    );
    if (events_ == nullptr) return;
    events_->record(
        k8s::reference_to_node(node),
        k8s::EventType::kWarning,
        "CardsNotBelieved",
        "annotation edge-gpu.io/cards: " + problem
    );
}

void Sync::on_pod(const json::value& object, State::Source source) {
    const auto pod = k8s::pod_from_json(object);
    if (!pod) {
        log::warn("pod not understood", {{"error", pod.error().message}});
        return;
    }
    PodFacts facts = read_facts(*pod);
    if (!facts.placement_error.empty()) report(facts);
    state_.upsert_pod(std::move(facts), MonoClock::now(), source);
}

// The pod keeps what it asked for, on cards that nobody knows; its author should know.
void Sync::report(const PodFacts& pod) {
    {
        const std::lock_guard lock(reported_mutex_);
        if (reported_.size() >= kMostReported) reported_.clear();
        if (!reported_.insert(pod.uid).second) return;
    }
    static auto count = metrics::counter(
        "edge_gpu_scheduler_placements_refused_total",
        "Pods whose placement annotations were not believed."
    );
    count.add();
    log::warn(
        "placement annotations not believed",
        {{"pod", pod.key()}, {"node", pod.node}, {"error", pod.placement_error}}
    );
    if (events_ == nullptr) return;
    k8s::ObjectReference about;
    about.kind = "Pod";
    about.ns = pod.ns;
    about.name = pod.name;
    about.uid = pod.uid;
    events_->record(
        about,
        k8s::EventType::kWarning,
        "PlacementNotBelieved",
        pod.placement_error + "; its share is accounted for on whatever cards have room"
    );
}

Status Sync::read_pods_now(TimePoint deadline, const StopToken& stop) {
    const std::string first =
        std::string(kPods) + "?fieldSelector=" + http::percent_encode(kLivePods) + "&limit=500";
    std::string path = first;
    for (;;) {
        k8s::Call call{deadline};
        call.stop = &stop;
        auto page = client_.list(path, call);
        if (!page) return page.error().wrap("reading all pods");
        if (const json::array* items = json::get_array(*page, {"items"})) {
            for (const json::value& item : *items) on_pod(item, State::Source::kRead);
        }
        const std::string_view next = json::get_string(*page, {"metadata", "continue"});
        if (next.empty()) return ok_status();
        path = first + "&continue=" + http::percent_encode(next);
    }
}

void Sync::housekeeping() {
    const StopToken stop = stop_.token();
    while (!stop.wait_for(kTick)) {
        for (const UnconfirmedPod& pod : state_.tick(MonoClock::now())) {
            if (stop.stopped()) return;
            look_up(pod);
        }
    }
}

void Sync::look_up(const UnconfirmedPod& pod) {
    const StopToken stop = stop_.token();
    k8s::Call call{MonoClock::now() + kLookUpTime};
    call.stop = &stop;
    const auto found = client_.get_pod(pod.ns, pod.name, call);
    const TimePoint now = MonoClock::now();
    if (!found) {
        if (found.error().code == ErrorCode::kNotFound) {
            state_.remove_pod(pod.uid, now);
        } else {
            state_.postpone(pod, now);
        }
        return;
    }
    if (found->meta.uid != pod.uid) {
        state_.remove_pod(pod.uid, now);
        return;
    }
    PodFacts facts = read_facts(*found);
    if (facts.node.empty() && !facts.terminal) {
        // In doubt: the write did not happen. Written, yet not there: cannot be, so look again.
        if (pod.doubt != 0) {
            state_.refute(pod);
        } else {
            state_.postpone(pod, now);
        }
        return;
    }
    state_.upsert_pod(std::move(facts), now, State::Source::kRead);
}

}  // namespace egpu::scheduler
