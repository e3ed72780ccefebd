#include "agent/agent.h"

#include <atomic>
#include <fstream>

#include "agent/guard_keeper.h"
#include "agent/http_status.h"
#include "agent/publisher.h"
#include "agent/state_file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gpu/cards_annotation.h"
#include "gpu/monitor.h"
#include "http/server.h"
#include "k8s/kubeconfig.h"
#include "kubelet/checkpoint.h"

namespace egpu::agent {

struct Agent::Parts {
    Parts(const Options& o, const AgentTiming& t)
        : options(o),
          timing(t),
          state(o.state_dir),
          books(o.pod_resources_socket, o.device_plugin_dir / kubelet::kCheckpointName),
          pods(o.node_name, [this] { on_pods(); }) {}

    void wake() {
        if (guard) guard->wake();
        const std::lock_guard lock(late_mutex);
        if (reconciler) reconciler->wake();
        if (publisher) publisher->kick();
    }
    void on_pods() {
        // At once: the scheduler that frees a card by the same event may use it for the other
        // resource before the kubelet's books are read.
        allocator->offer_ended([this](std::string_view uid) { return pods.ended(uid); });
        wake();
    }
    void on_inventory(const gpu::Inventory& found) {
        const gpu::Inventory inventory = with_replicas(found);
        allocator->set_inventory(inventory);
        const std::lock_guard lock(late_mutex);
        if (publisher) publish(inventory);
    }
    // NVML knows nothing of them.
    gpu::Inventory with_replicas(gpu::Inventory inventory) const {
        for (gpu::CardInfo& info : inventory.cards) info.card.replicas = options.replicas;
        return inventory;
    }
    // The scheduler learns of cards only from a driver that answered.
    void publish(const gpu::Inventory& inventory) {
        if (inventory.cards.empty() || !allocator->driver_answered()) return;
        publisher->publish_cards(
            gpu::encode_cards(inventory.cards),
            allocator->injection() + ": " + allocator->injection_reason()
        );
    }

    // An event on the pod; lost while there is no API server.
    void warn(const Holder& holder, std::string_view reason, const std::string& message) {
        const NodePodPtr pod = pods.by_uid(holder.pod_uid);
        const std::string uid = pod ? pod->api_uid : holder.pod_uid;
        const std::lock_guard lock(late_mutex);
        if (!publisher) return;
        publisher->warn({"Pod", holder.pod_namespace, holder.pod_name, uid}, reason, message);
    }

    const Options options;
    const AgentTiming timing;
    StateFile state;
    std::unique_ptr<Allocator> allocator;
    KubeletBooksReader books;
    PodsView pods;
    std::unique_ptr<GuardKeeper> guard;  // nullptr: shares are not enforced
    std::unique_ptr<DevicePlugins> plugins;
    std::unique_ptr<gpu::Monitor> monitor;
    std::unique_ptr<http::Server> server;

    std::mutex late_mutex;  // guards what follows, which is made while threads run already
    std::unique_ptr<Publisher> publisher;
    std::unique_ptr<Reconciler> reconciler;
    std::string api_error;  // the last one, so that it is logged once
    std::atomic<bool> stopped{false};
};

namespace {

Result<gpu::MonitorOptions> monitor_options(
    const Options& options, const AgentTiming& timing, const NodeState& state
) {
    gpu::MonitorOptions monitor;
    monitor.health = timing.health;
    monitor.poll = timing.poll_cards;
    monitor.poll_unsettled = timing.poll_unsettled;
    monitor.library = options.nvml_library;
    monitor.driver_root = inject::driver_root_seen(options.inject);
    auto policy = gpu::XidPolicy::make(
        options.xid_policy, options.disable_healthchecks, options.enable_healthchecks
    );
    if (!policy) return std::move(policy).error();
    for (const std::string& warning : policy->warnings()) log::warn(warning);
    monitor.xid_policy = std::move(*policy);
    for (const core::Card& card : state.cards) {
        gpu::CardInfo known;
        known.card = card;
        monitor.known.push_back(std::move(known));
    }
    return monitor;
}

// --isolation mig: what the card itself keeps apart.
Status whole_only(const Record& record) {
    if (record.whole() || record.resource != Resource::kPercent) return ok_status();
    return Error{
        ErrorCode::kInvalid,
        "--isolation mig gives out whole MIG instances and cards only, nothing would keep this "
        "container to a part of one: ask for a multiple of 100 nano-gpu/gpu-percent, or run the "
        "agent with --isolation guard"};
}

}  // namespace

// Before anything is allocated: an answer that lacks the guard's mounts would lack them for ever.
Status Agent::start_guard(Parts& parts) {
    const std::string& isolation = parts.options.isolation;
    static auto enforced = metrics::gauge(
        "edge_gpu_agent_shares_enforced", "1 when containers are held to their shares of a card."
    );
    enforced.set(isolation == "none" ? 0 : 1);
    if (isolation == "none") return ok_status();
    if (isolation == "mig") {
        parts.plugins->set_gate(whole_only);
        return ok_status();
    }
    GuardOptions guard;
    guard.folder = std::filesystem::absolute(parts.options.state_dir) / "guard";
    guard.library = parts.options.guard_library;
    GuardWatchOptions watch;
    guard.may_forget = [&parts] {
        const std::lock_guard lock(parts.late_mutex);
        return parts.reconciler && parts.reconciler->books_read();
    };
    watch.nvml.library = parts.options.nvml_library;
    watch.nvml.driver_root = inject::driver_root_seen(parts.options.inject);
    watch.end_bypassing = parts.options.on_bypass == "kill";
    watch.rules.grace = parts.timing.bypass_grace;
    guard.watch = std::move(watch);
    parts.guard = std::make_unique<GuardKeeper>(
        std::move(guard),
        *parts.allocator,
        parts.pods,
        [&parts](const Holder& holder, std::string_view reason, const std::string& message) {
            parts.warn(holder, reason, message);
        }
    );
    if (const Status installed = parts.guard->install(); !installed) {
        if (isolation == "guard") return installed.error().wrap("--isolation guard");
        parts.guard.reset();
        enforced.set(0);
        log::error(
            "NOTHING HOLDS CONTAINERS TO THEIR SHARES on this node: --isolation auto found no "
            "guard",
            {{"error", installed.error().message},
             {"fix", "install the library, or name it with --guard-library"}}
        );
        return ok_status();
    }
    parts.plugins->set_gate([&parts](const Record& record) { return parts.guard->ensure(record); });
    parts.guard->start();
    return ok_status();
}

Agent::Agent(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Agent::~Agent() {
    stop();
}

Result<std::unique_ptr<Agent>> Agent::start(const Options& options, const AgentTiming& timing) {
    std::unique_ptr<Agent> agent(new Agent(std::make_unique<Parts>(options, timing)));
    Parts& parts = *agent->parts_;
    EG_TRY(LoadedState loaded, parts.state.load());
    if (!loaded.note.empty())
        log::warn("the state is rebuilt from the kubelet's books", {{"why", loaded.note}});
    EG_TRY(auto injector, inject::make_injector(options.inject));
    EG_TRY(gpu::MonitorOptions monitor, monitor_options(options, timing, loaded.state));

    for (core::Card& card : loaded.state.cards) card.replicas = options.replicas;
    log::info("injection", {{"strategy", injector->name()}, {"why", injector->why()}});
    parts.allocator =
        std::make_unique<Allocator>(parts.state, std::move(injector), options.distribute_replicas);
    DevicePluginsOptions plugin_options;
    plugin_options.folder = options.device_plugin_dir;
    plugin_options.resources = options.resources;
    plugin_options.one_replica_a_container = options.one_replica_a_container;
    parts.plugins = std::make_unique<DevicePlugins>(
        std::move(plugin_options), *parts.allocator, parts.books, parts.pods
    );
    log::info(
        "state", {{"records", loaded.state.records.size()}, {"cards", loaded.state.cards.size()}}
    );
    parts.allocator->start(
        std::move(loaded.state),
        {[&parts](Resource r, const std::vector<kubelet::Device>& d) { parts.plugins->show(r, d); },
         [&parts] { parts.wake(); },
         [&parts](const Record& record, inject::ContainerEdits& edits) {
             return parts.guard && parts.guard->add_mounts(record, edits);
         }}
    );
    EG_TRY_VOID(start_guard(parts));
    parts.monitor = std::make_unique<gpu::Monitor>(
        std::move(monitor),
        [&parts](const gpu::Inventory& inventory) { parts.on_inventory(inventory); }
    );
    parts.monitor->start();
    if (!parts.monitor->wait_for_cards(timing.wait_for_cards)) {
        const std::string error = parts.monitor->latest().error;
        if (error.empty()) {  // it may have; the driver's files are staged before the cards count
            log::info("the cards are not ready yet");
        } else {
            log::warn(
                "the driver has not answered yet",
                {{"error", error},
                 {"cards known from the last run", parts.allocator->cards().size()}}
            );
        }
    }
    parts.plugins->start();

    {
        const std::lock_guard lock(parts.late_mutex);
        ReconcileOptions reconcile = timing.reconcile;
        reconcile.state_lost = loaded.source != StateSource::kCurrent;
        parts.reconciler = std::make_unique<Reconciler>(
            reconcile,
            *parts.allocator,
            parts.books,
            parts.pods,
            [&parts](PlacementReport report) {
                const std::lock_guard late(parts.late_mutex);
                if (parts.publisher) parts.publisher->report(std::move(report));
            }
        );
        parts.reconciler->start();
    }
    // From here on the network.
    agent->connect_api();
    if (!options.listen.empty()) {
        auto server =
            start_http_status(options.listen, *parts.plugins, *parts.allocator, parts.pods);
        if (server) {
            parts.server = std::move(*server);
        } else {
            log::error(
                "running without /metrics and /healthz", {{"error", server.error().message}}
            );
        }
    }
    return agent;
}

bool Agent::connect_api() {
    Parts& parts = *parts_;
    {
        const std::lock_guard lock(parts.late_mutex);
        if (parts.publisher || parts.stopped) return true;
    }
    const auto failed = [&](const Error& error, const char* what) {
        const std::lock_guard lock(parts.late_mutex);
        if (parts.api_error != error.message) log::warn(what, {{"why", error.message}});
        parts.api_error = error.message;
        return false;
    };
    const auto config = k8s::default_config(parts.options.kubeconfig);
    if (!config) {
        failed(
            config.error(),
            "running without an API server: placements are chosen here and reported to nobody"
        );
        return parts.options.kubeconfig.empty();
    }
    k8s::ApiClientOptions client_options;
    client_options.user_agent = "edge-gpu-agent";
    client_options.max_idle = 2;
    const auto client = k8s::Client::open(*config, client_options);
    if (!client) return failed(client.error(), "the API server cannot be used");
    log::info("API server", {{"server", client->server()}, {"config", config->source}});
    {
        const std::lock_guard lock(parts.late_mutex);
        PublisherOptions publisher;
        publisher.node_name = parts.options.node_name;
        parts.publisher = std::make_unique<Publisher>(*client, publisher);
        parts.publish(parts.with_replicas(parts.monitor->latest()));
        parts.publisher->start();
    }
    parts.pods.start(*client);
    return true;
}

void Agent::stop() {
    Parts& parts = *parts_;
    if (parts.stopped.exchange(true)) return;
    if (parts.server) parts.server->stop(Millis(100));
    if (parts.plugins) parts.plugins->stop();
    parts.pods.stop();
    if (parts.guard) parts.guard->stop();
    std::unique_ptr<Reconciler> reconciler;
    std::unique_ptr<Publisher> publisher;
    if (parts.monitor) parts.monitor->stop();
    {
        const std::lock_guard lock(parts.late_mutex);
        reconciler = std::move(parts.reconciler);
    }
    if (reconciler) reconciler->stop();  // it reports to the publisher until here
    reconciler.reset();
    {
        const std::lock_guard lock(parts.late_mutex);
        publisher = std::move(parts.publisher);
    }
    if (publisher) publisher->stop();
}

Allocator& Agent::allocator() {
    return *parts_->allocator;
}

PodsView& Agent::pods() {
    return parts_->pods;
}

DevicePlugins& Agent::plugins() {
    return *parts_->plugins;
}

int Agent::http_port() const {
    return parts_->server ? parts_->server->port() : 0;
}

bool Agent::cards_published() const {
    const std::lock_guard lock(parts_->late_mutex);
    return parts_->publisher && parts_->publisher->cards_published();
}

}  // namespace egpu::agent
