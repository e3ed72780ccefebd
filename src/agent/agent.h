// The whole agent of one node in one object: `edge-gpu agent` and the tests run this.
//
// Start order: state file, cards, sockets and registration; only then anything that needs a
// network. Nothing here waits for the API server. Thread-safe once started.
#pragma once

#include <memory>
#include <string>

#include "agent/allocator.h"
#include "agent/device_plugins.h"
#include "agent/options.h"
#include "agent/reconcile.h"
#include "base/clock.h"
#include "base/result.h"
#include "gpu/health.h"

namespace egpu::agent {

// What tests make shorter.
struct AgentTiming {
    Duration wait_for_cards =
        Millis(100);  // at start, before the devices are offered with what the last run knew
    ReconcileOptions reconcile;
    gpu::HealthOptions health;
    Duration poll_cards = Seconds(10);
    Duration poll_unsettled = Seconds(1);
    Duration bypass_grace = Seconds(10);  // of --on-bypass kill
};

class Agent {
  public:
    // Errors: the state folder cannot be used, injection or XID settings that cannot work. A
    // missing driver, kubelet or API server, a kubeconfig that cannot be read and an HTTP address
    // that is taken are no errors: containers come first.
    static Result<std::unique_ptr<Agent>> start(
        const Options& options, const AgentTiming& timing = {}
    );
    ~Agent();  // stop()
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;

    void stop();  // idempotent; allocations stay

    // Begins to talk to the API server; start() has tried it once. False when the configuration
    // cannot be used (now): call it again from time to time. True when it is in use, or when none
    // is configured.
    bool connect_api();

    Allocator& allocator();
    PodsView& pods();
    DevicePlugins& plugins();
    int http_port() const;  // 0 without an HTTP server
    bool cards_published() const;

  private:
    struct Parts;
    explicit Agent(std::unique_ptr<Parts> parts);
    static Status start_guard(Parts& parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace egpu::agent
