// Calls a scheduler extender the way kube-scheduler's HTTPExtender does: POST, status exactly 200,
// one time-out for the whole exchange, never repeated. Thread-safe.
//
// Contract: kube-scheduler extender/v1 types; keys are the Go names.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "http/client.h"
#include "sim/scheduling_facts.h"

namespace egpu::sim {

struct ExtenderConfig {
    std::string url_prefix;  // "http://127.0.0.1:39999/scheduler"
    bool node_cache_capable = true;
    std::set<std::string> managed_resources{"nvidia.com/gpu", "nano-gpu/gpu-percent"};
    bool preempt = true;  // has a preemptVerb
    int weight = 200;
    Duration http_timeout = Seconds(5);
};

struct FilterAnswer {
    std::vector<std::string> nodes;  // that passed
    std::map<std::string, std::string> failed;
    std::map<std::string, std::string> unresolvable;
};

// The victims on one node: pods of that node by UID.
using Victims = std::map<std::string, std::vector<std::shared_ptr<const SchedPod>>>;
using NodeList = std::vector<std::shared_ptr<const SchedNode>>;

class ExtenderCaller {
  public:
    static Result<std::unique_ptr<ExtenderCaller>> open(ExtenderConfig config);

    // Some container lists a managed resource, even with the value 0.
    bool interested(const SchedPod& pod) const;

    Result<FilterAnswer> filter(const SchedPod& pod, const NodeList& nodes) const;
    // Scores as they count in the sum: 0..100 times the weight.
    Result<std::map<std::string, std::int64_t>> prioritize(
        const SchedPod& pod, const NodeList& nodes
    ) const;
    Status bind(const SchedPod& pod, const std::string& node) const;
    // The UIDs that would do, by node; nodes the extender rules out are missing.
    Result<std::map<std::string, std::vector<std::string>>> preempt(
        const SchedPod& pod, const Victims& victims
    ) const;

    const ExtenderConfig& config() const { return config_; }

  private:
    ExtenderCaller(ExtenderConfig config, std::unique_ptr<http::Client> client)
        : config_(std::move(config)), client_(std::move(client)) {}
    Result<json::value> send(std::string_view verb, const json::value& arguments) const;
    json::value arguments(const SchedPod& pod, const NodeList& nodes) const;

    ExtenderConfig config_;
    std::unique_ptr<http::Client> client_;
};

}  // namespace egpu::sim
