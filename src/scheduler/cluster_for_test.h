// For tests and benchmarks: an embedded API server with nodes and pods, one scheduler replica
// before it, and kube-scheduler's calls to it over HTTP.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "http/client.h"
#include "k8s/kubeconfig.h"
#include "scheduler/objects_for_test.h"
#include "scheduler/service.h"
#include "scheduler/state.h"
#include "testing/apiserver/api_server.h"

namespace egpu::scheduler {

class TestCluster {
  public:
    explicit TestCluster(testing::ApiServerOptions api_options = {});

    testing::ApiServer& api() { return *api_; }
    const k8s::Config& config() const { return config_; }
    // Starts a replica and waits until it is ready.
    void start(Options options = quick_options());
    Service& service() { return *service_; }
    void stop_service() { service_.reset(); }
    const State& state() { return service_->state(); }

    void add_node(std::string_view name, int percent);
    void add_pod(const TestPod& pod);
    // Until the scheduler has seen the pod (unassigned or bound).
    void add_pod_and_wait(const TestPod& pod);

    // One call of kube-scheduler; the answer's body. Aborts the test on any status but 200.
    json::value call(std::string_view verb, const std::string& body);
    http::Response request(
        std::string_view method, std::string_view path, const std::string& body = ""
    );
    std::vector<std::string> filter(const TestPod& pod, const std::vector<std::string>& nodes);
    std::string bind(const TestPod& pod, std::string_view node);  // the Error, "" is success
    // filter, then bind to the first node that fits; the node, or "" with the reason in last_error.
    std::string schedule(const TestPod& pod, const std::vector<std::string>& nodes);
    std::string last_error;

    json::value pod(std::string_view name);
    std::string node_of(std::string_view name);
    std::string annotation(std::string_view pod_name, std::string_view key);
    // Used percent of each card of a node, as the ledger has it.
    std::vector<int> used(std::string_view node);

  private:
    std::unique_ptr<testing::ApiServer> api_;
    k8s::Config config_;
    std::unique_ptr<Service> service_;
};

}  // namespace egpu::scheduler
