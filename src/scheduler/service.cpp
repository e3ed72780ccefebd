#include "scheduler/service.h"

#include <array>
#include <atomic>
#include <charconv>
#include <random>

#include <unistd.h>

#include "base/log.h"
#include "http/server.h"
#include "k8s/events.h"
#include "scheduler/bind.h"
#include "scheduler/gate.h"
#include "scheduler/handlers.h"
#include "scheduler/leadership.h"
#include "scheduler/policy_worker.h"
#include "scheduler/state.h"
#include "scheduler/sync.h"

namespace egpu::scheduler {
namespace {

constexpr Duration kEventGrace = Millis(500);

StateOptions state_options(const Options& options) {
    StateOptions out;
    out.reservation_ttl = options.reservation_ttl;
    out.ledger.count_host = options.count_host;
    const std::string_view policy = options.policy;
    const std::size_t colon = policy.find(':');
    out.policy = policy.substr(0, colon);
    // Others score by the room that binpack's choice of cards leaves, or choose the card
    // themselves.
    if (core::find_policy(out.policy) != nullptr) out.ledger.policy = out.policy;
    if (colon != std::string_view::npos) {
        const std::string_view seed = policy.substr(colon + 1);
        std::from_chars(seed.data(), seed.data() + seed.size(), out.ledger.seed);
    } else if (policy == "random") {
        out.ledger.seed = std::random_device{}();
        log::info("seed of policy random", {{"seed", out.ledger.seed}});
    }
    return out;
}

// Unique per process and per start: host name, process, and a number that differs in one process.
std::string identity() {
    static std::atomic<unsigned> started{0};
    std::array<char, 256> host{};
    if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
    return std::string(host.data()) + "_" + std::to_string(getpid()) + "_" +
           std::to_string(++started) + "_" + std::to_string(std::random_device{}());
}

http::ServerOptions server_options(const Options& options) {
    http::ServerOptions out;
    out.listen = options.listen;
    out.name = "scheduler";
    out.max_connections = static_cast<std::size_t>(options.max_connections);
    out.max_body = options.max_body;
    out.use_tls = !options.tls_cert.empty();
    out.tls.cert_file = options.tls_cert;
    out.tls.key_file = options.tls_key;
    out.tls.client_ca_file = options.tls_client_ca;
    out.tls.require_client_cert = !options.tls_client_ca.empty();
    return out;
}

k8s::LeaseOptions lease_options(const Options& options) {
    k8s::LeaseOptions out;
    out.ns = options.lease_namespace;
    out.name = options.lease_name;
    out.identity = identity();
    out.lease = options.lease_duration;
    out.renew = options.renew_deadline;
    out.retry = options.retry_period;
    return out;
}

}  // namespace

struct Service::Parts {
    explicit Parts(const Options& o)
        : options(o), state(state_options(o)), policy_worker(state), handlers(state, gate) {}

    Status start(const k8s::Config& config);
    void stop();

    Options options;
    Gate gate;
    State state;
    PolicyWorker policy_worker;
    Handlers handlers;
    std::unique_ptr<http::Server> server;
    std::unique_ptr<k8s::EventRecorder> events;
    std::unique_ptr<Sync> sync;
    std::unique_ptr<Leadership> leadership;
    std::mutex stop_mutex;
    bool stopped = false;
};

Status Service::Parts::start(const k8s::Config& config) {
    k8s::ApiClientOptions client_options;
    client_options.user_agent = "edge-gpu-scheduler";
    client_options.max_idle = 32;  // binds run side by side
    EG_TRY(k8s::Client client, k8s::Client::open(config, client_options));
    EG_TRY(server, http::Server::start(server_options(options), [this](http::Exchange& exchange) {
               handlers.handle(exchange);
           }));
    k8s::EventOptions event_options;
    event_options.component = "edge-gpu-scheduler";
    events = std::make_unique<k8s::EventRecorder>(client, event_options);
    sync = std::make_unique<Sync>(state, client, events.get());
    BinderOptions binder_options;
    binder_options.timeout = options.bind_timeout;
    binder_options.compat_label = options.compat_label;
    handlers.set_binder(std::make_shared<Binder>(state, gate, client, binder_options));
    GateProbes probes;
    probes.synced = [this] { return sync->synced(); };
    probes.api_error = [this] { return sync->last_error(); };
    if (options.leader_elect) {
        leadership = std::make_unique<Leadership>(*sync, client, lease_options(options));
        probes.leading = [this] { return leadership->leading(); };
        probes.leader = [this] { return leadership->leader(); };
        probes.held_until = [this] { return leadership->held_until(); };
    }
    gate.open(std::move(probes));
    policy_worker.start();
    sync->start();
    if (leadership) EG_TRY_VOID(leadership->start());
    return ok_status();
}

void Service::Parts::stop() {
    const std::lock_guard lock(stop_mutex);
    if (std::exchange(stopped, true)) return;
    gate.shut_down();
    // Binds in flight need their time to be settled; the lease is kept until they are.
    if (server) server->stop(options.bind_timeout + Millis(200));
    if (leadership) leadership->stop();
    if (sync) sync->stop();
    policy_worker.stop();
    if (events) events->stop(kEventGrace);
}

Service::Service(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Service::~Service() {
    stop();
}

Result<std::unique_ptr<Service>> Service::start(const Options& options, const k8s::Config& config) {
    std::unique_ptr<Service> service(new Service(std::make_unique<Parts>(options)));
    EG_TRY_VOID(service->parts_->start(config));
    return service;
}

int Service::port() const {
    return parts_->server->port();
}

std::string Service::address() const {
    return parts_->server->address();
}

bool Service::ready() const {
    return !parts_->gate.refuses_binds().has_value();
}

const State& Service::state() const {
    return parts_->state;
}

void Service::stop() {
    parts_->stop();
}

}  // namespace egpu::scheduler
