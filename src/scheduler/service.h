// Service: one running scheduler replica, all parts put together; run_scheduler() is a thin shell
// around it, tests start several in one process. HTTP answers in form from the first moment; the
// API server may come later. stop() lets binds in flight finish before the lease is given back.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/kubeconfig.h"
#include "scheduler/options.h"

namespace egpu::scheduler {

class State;

class Service {
  public:
    // kUnavailable or kInvalid when the address, the certificates or the API configuration cannot
    // work. An API server that does not answer is no error.
    static Result<std::unique_ptr<Service>> start(
        const Options& options, const k8s::Config& config
    );
    ~Service();  // stop()
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    int port() const;
    std::string address() const;
    // Synced and leading: what /readyz says.
    bool ready() const;
    const State& state() const;

    // Readiness off, no new binds, in-flight requests finish, lease released. Idempotent.
    void stop();

  private:
    struct Parts;
    explicit Service(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace egpu::scheduler
