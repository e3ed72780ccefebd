#include "sim/kubelet_objects.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>
#include <string_view>

namespace egpu::sim {

namespace {

using testing::ContainerKind;
using testing::ContainerState;
using testing::ContainerStatus;
using testing::PodPhase;

bool is_extended(std::string_view resource) {
    const auto slash = resource.find('/');
    if (slash == std::string_view::npos) return false;
    const std::string_view domain = resource.substr(0, slash);
    return domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io");
}

// The API server admits whole numbers only for extended resources.
Result<std::int64_t> whole_number(std::string_view text, const std::string& field) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && number >= 0) return number;
    if (error == std::errc() && number >= 0 && end + 1 == text.data() + text.size() &&
        *end == 'k') {
        if (number <= std::numeric_limits<std::int64_t>::max() / 1000) return number * 1000;
    }
    return Error{
        ErrorCode::kInvalid, field + ": \"" + std::string(text) + "\" is not a whole number"};
}

Result<std::map<std::string, std::int64_t>> extended_limits(const json::value& container) {
    std::map<std::string, std::int64_t> out;
    const auto* limits = json::get_object(container, {"resources", "limits"});
    if (limits == nullptr) return out;
    for (const auto& [key, value] : *limits) {
        const std::string resource(key);
        if (!is_extended(resource)) continue;
        const std::string field = "limits[" + resource + "]";
        if (value.is_int64()) {
            out[resource] = value.as_int64();
        } else if (value.is_string()) {
            EG_TRY(out[resource], whole_number(std::string_view(value.as_string()), field));
        } else {
            return Error{ErrorCode::kInvalid, field + " is neither a string nor a number"};
        }
    }
    return out;
}

Status add_containers(
    const json::value& pod,
    std::string_view list,
    std::optional<Duration> run_for,
    std::vector<testing::ContainerSpec>& out
) {
    const auto* containers = json::get_array(pod, {"spec", list});
    if (containers == nullptr) return ok_status();
    for (const json::value& container : *containers) {
        testing::ContainerSpec spec;
        spec.name = json::get_string(container, {"name"});
        if (list == "initContainers") {
            const bool sidecar = json::get_string(container, {"restartPolicy"}) == "Always";
            spec.kind = sidecar ? ContainerKind::kSidecar : ContainerKind::kInit;
        } else {
            spec.run_for = run_for;
        }
        auto limits = extended_limits(container);
        if (!limits) return limits.error().wrap("container " + spec.name);
        spec.limits = std::move(*limits);
        if (const auto* env = json::get_array(container, {"env"})) {
            for (const json::value& entry : *env) {
                const std::string name(json::get_string(entry, {"name"}));
                if (!name.empty()) spec.env[name] = json::get_string(entry, {"value"});
            }
        }
        out.push_back(std::move(spec));
    }
    return ok_status();
}

json::value state_json(const ContainerStatus& c) {
    switch (c.state) {
        case ContainerState::kRunning:
            return {{"running", {{"startedAt", api_time(c.started)}}}};
        case ContainerState::kTerminated:
            return {
                {"terminated",
                 {{"exitCode", c.exit_code},
                  {"reason", c.reason.empty() ? "Completed" : c.reason},
                  {"startedAt", api_time(c.started)},
                  {"finishedAt", api_time(c.finished)}}}};
        case ContainerState::kWaiting:
            break;
    }
    json::object waiting{{"reason", c.reason.empty() ? "ContainerCreating" : c.reason}};
    if (!c.message.empty()) waiting["message"] = c.message;
    return {{"waiting", std::move(waiting)}};
}

std::string image_of(const json::value& pod, const std::string& container) {
    for (const std::string_view list : {"containers", "initContainers"}) {
        const auto* containers = json::get_array(pod, {"spec", list});
        if (containers == nullptr) continue;
        for (const json::value& c : *containers) {
            if (json::get_string(c, {"name"}) == container) {
                return std::string(json::get_string(c, {"image"}));
            }
        }
    }
    return "";
}

bool is_ready(const ContainerStatus& c) {
    if (c.kind == ContainerKind::kInit) {
        return c.state == ContainerState::kTerminated && c.exit_code == 0;
    }
    return c.state == ContainerState::kRunning;
}

json::value container_json(
    const ContainerStatus& c, const json::value& pod, const std::string& uid
) {
    const bool started = c.state != ContainerState::kWaiting;
    json::object out{
        {"name", c.name},
        {"image", image_of(pod, c.name)},
        {"imageID", ""},
        {"ready", is_ready(c)},
        {"started", c.state == ContainerState::kRunning},
        {"restartCount", c.restarts},
        {"state", state_json(c)},
        {"lastState", json::object{}}};
    if (started) {
        out["containerID"] = "sim://" + uid + "/" + c.name + "/" + std::to_string(c.restarts);
    }
    return out;
}

json::value condition(
    std::string_view type, bool holds, std::string_view reason, const std::string& at
) {
    json::object out{
        {"type", type}, {"status", holds ? "True" : "False"}, {"lastTransitionTime", at}};
    if (!holds && !reason.empty()) out["reason"] = reason;
    return out;
}

}  // namespace

std::string api_time(std::chrono::system_clock::time_point at) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

Result<Duration> parse_go_duration(std::string_view text) {
    const auto bad = [&] {
        return Error{
            ErrorCode::kInvalid,
            "\"" + std::string(text) + "\" is not a duration such as 3s, 500ms or 1m30s"};
    };
    double total_ms = 0;
    std::string_view rest = text;
    if (rest.empty()) return bad();
    while (!rest.empty()) {
        const auto digits = rest.find_first_not_of("0123456789.");
        if (digits == 0 || digits == std::string_view::npos) return bad();
        double number = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + digits, number);
        if (error != std::errc() || end != rest.data() + digits) return bad();
        rest.remove_prefix(digits);
        const auto unit_end = std::min(rest.find_first_of("0123456789."), rest.size());
        const std::string_view unit = rest.substr(0, unit_end);
        const double ms = unit == "ms"  ? 1
                          : unit == "s" ? 1e3
                          : unit == "m" ? 6e4
                          : unit == "h" ? 3.6e6
                                        : 0;
        if (ms == 0) return bad();
        total_ms += number * ms;
        rest.remove_prefix(unit_end);
    }
    if (!(total_ms < 1e12)) return bad();
    return Duration(Millis(static_cast<Millis::rep>(std::llround(total_ms))));
}

Result<testing::PodSpec> kubelet_pod(const json::value& pod) {
    testing::PodSpec out;
    out.uid = json::get_string(pod, {"metadata", "uid"});
    out.ns = json::get_string(pod, {"metadata", "namespace"});
    out.name = json::get_string(pod, {"metadata", "name"});
    if (out.uid.empty() || out.name.empty()) {
        return Error{ErrorCode::kInvalid, "pod without metadata.uid or metadata.name"};
    }
    const std::string_view policy = json::get_string(pod, {"spec", "restartPolicy"});
    if (policy == "Never") out.restart = testing::RestartPolicy::kNever;
    if (policy == "OnFailure") out.restart = testing::RestartPolicy::kOnFailure;
    std::optional<Duration> run_for;
    const auto text = json::get_string(pod, {"metadata", "annotations", kAnnotationRunFor});
    if (!text.empty()) {
        auto parsed = parse_go_duration(text);
        if (!parsed) return parsed.error().wrap(std::string(kAnnotationRunFor));
        run_for = *parsed;
        out.restart = testing::RestartPolicy::kNever;
    }
    EG_TRY_VOID(add_containers(pod, "initContainers", run_for, out.containers));
    EG_TRY_VOID(add_containers(pod, "containers", run_for, out.containers));
    return out;
}

json::value pod_status_patch(
    const testing::PodStatus& status,
    const json::value& pod,
    const PodAddresses& addresses,
    testing::Dialect dialect
) {
    json::array apps;
    json::array inits;
    bool initialized = true;
    bool ready = true;
    for (const ContainerStatus& c : status.containers) {
        auto& list = c.kind == ContainerKind::kApp ? apps : inits;
        if (c.kind == ContainerKind::kApp) {
            ready = ready && is_ready(c);
        } else {
            initialized = initialized && is_ready(c);
            if (c.kind == ContainerKind::kSidecar) ready = ready && is_ready(c);
        }
        list.push_back(container_json(c, pod, status.uid));
    }
    const bool ended = status.phase == PodPhase::kSucceeded || status.phase == PodPhase::kFailed;
    const bool succeeded = status.phase == PodPhase::kSucceeded;
    ready = ready && initialized && !ended && !status.terminating;
    const std::string at = api_time(std::chrono::system_clock::now());
    const std::string_view why = succeeded ? "PodCompleted" : "ContainersNotReady";
    json::object out{
        {"phase", testing::to_string(status.phase)},
        {"conditions",
         json::array{
             condition("Initialized", initialized || succeeded, "ContainersNotInitialized", at),
             condition("Ready", ready, why, at),
             condition("ContainersReady", ready, why, at)}},
        {"startTime", api_time(status.started)},
        {"hostIP", addresses.host},
        {"qosClass", "BestEffort"}};
    if (!status.reason.empty()) {
        out["reason"] = status.reason;
        out["message"] = testing::rejection_message(dialect, status.message);
    }
    if (!apps.empty()) out["containerStatuses"] = std::move(apps);
    if (!inits.empty()) out["initContainerStatuses"] = std::move(inits);
    if (status.reason.empty() && !addresses.pod.empty()) {
        out["podIP"] = addresses.pod;
        out["podIPs"] = json::array{{{"ip", addresses.pod}}};
    }
    return {{"metadata", {{"uid", status.uid}}}, {"status", std::move(out)}};
}

namespace {

json::object amounts(const NodeFacts& facts, const std::map<std::string, std::int64_t>& extended) {
    json::object out{
        {"cpu", facts.cpu},
        {"memory", facts.memory},
        {"pods", std::to_string(facts.pods)},
        {"ephemeral-storage", "100Gi"}};
    for (const auto& [resource, count] : extended) out[resource] = std::to_string(count);
    return out;
}

}  // namespace

json::value node_object(const NodeFacts& facts) {
    json::object labels{
        {"kubernetes.io/hostname", facts.name},
        {"kubernetes.io/os", "linux"},
        {"kubernetes.io/arch", "amd64"}};
    for (const auto& [key, value] : facts.labels) labels[key] = value;
    return {
        {"apiVersion", "v1"},
        {"kind", "Node"},
        {"metadata", {{"name", facts.name}, {"labels", std::move(labels)}}},
        {"spec", json::object{}}};
}

json::value node_status_patch(
    const NodeFacts& facts,
    const std::map<std::string, std::int64_t>& capacity,
    const std::map<std::string, std::int64_t>& allocatable
) {
    const std::string at = api_time(std::chrono::system_clock::now());
    return {
        {"status",
         {{"capacity", amounts(facts, capacity)},
          {"allocatable", amounts(facts, allocatable)},
          {"conditions",
           json::array{
               {{"type", "Ready"},
                {"status", "True"},
                {"reason", "KubeletReady"},
                {"message", "kubelet is posting ready status"},
                {"lastHeartbeatTime", at},
                {"lastTransitionTime", at}}}},
          {"addresses",
           json::array{
               {{"type", "InternalIP"}, {"address", facts.address}},
               {{"type", "Hostname"}, {"address", facts.name}}}},
          {"nodeInfo",
           {{"kubeletVersion", facts.kubelet_version},
            {"kubeProxyVersion", facts.kubelet_version},
            {"osImage", "Debian GNU/Linux 12 (bookworm)"},
            {"kernelVersion", "6.1.0"},
            {"containerRuntimeVersion", "sim://1"},
            {"operatingSystem", "linux"},
            {"architecture", "amd64"},
            {"machineID", ""},
            {"systemUUID", ""},
            {"bootID", ""}}}}}};
}

}  // namespace egpu::sim
