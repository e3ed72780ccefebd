// The row of a pod. STATUS is the hard one: it sums up phase, reason, init containers, waiting and
// terminated containers, and deletion, in that order of overriding.
#include <algorithm>

#include "testing/apiserver/printers.h"

namespace egpu::testing {
namespace {

struct Summary {
    std::string status;
    std::int64_t restarts = 0;
    std::size_t ready = 0;
    std::size_t total = 0;
};

const json::array& array_or_empty(
    const json::value& from, std::initializer_list<std::string_view> path
) {
    static const json::array kEmpty;
    const json::array* found = json::get_array(from, path);
    return found == nullptr ? kEmpty : *found;
}

std::string terminated_word(const json::value& container_status) {
    const auto reason = json::get_string(container_status, {"state", "terminated", "reason"});
    if (!reason.empty()) return std::string(reason);
    const auto signal =
        json::get_int(container_status, {"state", "terminated", "signal"}).value_or(0);
    if (signal != 0) return "Signal:" + std::to_string(signal);
    return "ExitCode:" +
           std::to_string(
               json::get_int(container_status, {"state", "terminated", "exitCode"}).value_or(0)
           );
}

bool has(const json::value& v, std::initializer_list<std::string_view> path) {
    return json::find(v, path) != nullptr;
}

bool is_sidecar(const json::value& pod, std::string_view container) {
    for (const auto& c : array_or_empty(pod, {"spec", "initContainers"})) {
        if (json::get_string(c, {"name"}) == container)
            return json::get_string(c, {"restartPolicy"}) == "Always";
    }
    return false;
}

// True when an init container still holds the pod up; the status says which.
bool sum_up_init(const json::value& pod, Summary& s) {
    const auto& statuses = array_or_empty(pod, {"status", "initContainerStatuses"});
    const std::size_t total = array_or_empty(pod, {"spec", "initContainers"}).size();
    for (std::size_t i = 0; i < statuses.size(); ++i) {
        const json::value& c = statuses[i];
        s.restarts += json::get_int(c, {"restartCount"}).value_or(0);
        const bool sidecar = is_sidecar(pod, json::get_string(c, {"name"}));
        if (sidecar && json::get_bool(c, {"ready"})) ++s.ready;
        if (has(c, {"state", "terminated"}) &&
            json::get_int(c, {"state", "terminated", "exitCode"}).value_or(0) == 0)
            continue;
        if (sidecar && json::get_bool(c, {"started"})) continue;
        const auto waiting = json::get_string(c, {"state", "waiting", "reason"});
        if (has(c, {"state", "terminated"})) {
            s.status = "Init:" + terminated_word(c);
        } else if (!waiting.empty() && waiting != "PodInitializing") {
            s.status = "Init:" + std::string(waiting);
        } else {
            s.status = "Init:" + std::to_string(i) + "/" + std::to_string(total);
        }
        return true;
    }
    return false;
}

bool pod_ready(const json::value& pod) {
    for (const auto& c : array_or_empty(pod, {"status", "conditions"})) {
        if (json::get_string(c, {"type"}) == "Ready")
            return json::get_string(c, {"status"}) == "True";
    }
    return false;
}

void sum_up_apps(const json::value& pod, Summary& s) {
    const auto& statuses = array_or_empty(pod, {"status", "containerStatuses"});
    bool running = false;
    for (std::size_t i = statuses.size(); i-- > 0;) {
        const json::value& c = statuses[i];
        s.restarts += json::get_int(c, {"restartCount"}).value_or(0);
        const auto waiting = json::get_string(c, {"state", "waiting", "reason"});
        if (!waiting.empty()) {
            s.status = waiting;
        } else if (has(c, {"state", "terminated"})) {
            s.status = terminated_word(c);
        } else if (json::get_bool(c, {"ready"}) && has(c, {"state", "running"})) {
            running = true;
            ++s.ready;
        }
    }
    if (s.status == "Completed" && running) s.status = pod_ready(pod) ? "Running" : "NotReady";
}

Summary sum_up(const json::value& pod) {
    Summary s;
    s.total = array_or_empty(pod, {"spec", "containers"}).size();
    for (const auto& c : array_or_empty(pod, {"spec", "initContainers"})) {
        if (json::get_string(c, {"restartPolicy"}) == "Always") ++s.total;
    }
    s.status = json::get_string(pod, {"status", "reason"});
    if (s.status.empty()) s.status = json::get_string(pod, {"status", "phase"});
    for (const auto& c : array_or_empty(pod, {"status", "conditions"})) {
        if (json::get_string(c, {"type"}) == "PodScheduled" &&
            json::get_string(c, {"reason"}) == "SchedulingGated")
            s.status = "SchedulingGated";
    }
    if (!sum_up_init(pod, s)) sum_up_apps(pod, s);
    if (has(pod, {"metadata", "deletionTimestamp"}))
        s.status =
            json::get_string(pod, {"status", "reason"}) == "NodeLost" ? "Unknown" : "Terminating";
    return s;
}

}  // namespace

void print_pod(const Object& object, json::array& cells) {
    const json::value& pod = object.doc();
    const Summary s = sum_up(pod);
    const auto or_none = [](std::string_view v) {
        return v.empty() ? std::string_view("<none>") : v;
    };
    cells.emplace_back(object.name());
    cells.emplace_back(std::to_string(s.ready) + "/" + std::to_string(s.total));
    cells.emplace_back(s.status);
    cells.emplace_back(std::to_string(s.restarts));
    cells.emplace_back(age_of(json::get_string(pod, {"metadata", "creationTimestamp"})));
    cells.emplace_back(or_none(json::get_string(pod, {"status", "podIP"})));
    cells.emplace_back(or_none(json::get_string(pod, {"spec", "nodeName"})));
    cells.emplace_back(or_none(json::get_string(pod, {"status", "nominatedNodeName"})));
    cells.emplace_back("<none>");
}

}  // namespace egpu::testing
