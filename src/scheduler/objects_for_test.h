// For tests and benchmarks: nodes, pods and kube-scheduler's request bodies as JSON.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "scheduler/options.h"

namespace egpu::scheduler {

inline bool eventually(const std::function<bool()>& done, Duration limit = Seconds(10)) {
    const TimePoint end = MonoClock::now() + limit;
    while (!done()) {
        if (MonoClock::now() > end) return false;
        std::this_thread::sleep_for(Millis(5));
    }
    return true;
}

struct TestContainer {
    std::string name = "main";
    std::string percent = "";  // limits of nano-gpu/gpu-percent, "" for none
    std::string whole = "";    // of nvidia.com/gpu
    bool init = false;
    bool sidecar = false;
};

struct TestPod {
    std::string name;
    std::vector<TestContainer> containers;
    std::string uid;   // "": "uid-" and the name
    std::string node;  // bound already
    std::string phase = "Pending";
    std::map<std::string, std::string> annotations;
    std::int64_t priority = 0;
    bool deleting = false;
};

// One container "main" with this share.
TestPod share_pod(std::string name, int percent);
std::string uid_of(const TestPod& pod);
json::value pod_json(const TestPod& pod);
// `percent`: capacity and allocatable of nano-gpu/gpu-percent.
json::value node_json(std::string_view name, int percent);
// With the annotation edge-gpu.io/cards: `cards` cards GPU-<node>-0…
json::value node_with_cards_json(
    std::string_view name, int cards, std::string_view model = "Tesla T4"
);

// Bodies as kube-scheduler writes them.
std::string filter_body(const TestPod& pod, const std::vector<std::string>& nodes);
std::string filter_body_with_nodes(const TestPod& pod, const std::vector<json::value>& nodes);
std::string bind_body(const TestPod& pod, std::string_view node);

// Options as the tests want them: a free port, no leader election.
Options quick_options();

}  // namespace egpu::scheduler
