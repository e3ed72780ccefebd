#include "sim/pod_writer.h"

#include <utility>

#include "base/log.h"

namespace egpu::sim {

namespace {

constexpr Duration kWriteDeadline = Seconds(5);

k8s::EventOptions event_options() {
    k8s::EventOptions options;
    options.component = "default-scheduler";
    options.rate = 100;
    options.burst = 200;
    return options;
}

k8s::ObjectReference reference(const SchedPod& pod) {
    return {"Pod", pod.ns, pod.name, pod.uid, "v1"};
}

}  // namespace

PodWriter::PodWriter(k8s::Client client, StopToken stop)
    : client_(std::move(client)), stop_(std::move(stop)), events_(client_, event_options()) {}

k8s::Call PodWriter::call() const {
    k8s::Call out(MonoClock::now() + kWriteDeadline);
    out.stop = &stop_;
    return out;
}

Status PodWriter::bind(const SchedPod& pod, const std::string& node) {
    return client_.bind_pod(pod.ns, pod.name, pod.uid, node, {}, call());
}

void PodWriter::scheduled(const SchedPod& pod, const std::string& node) {
    events_.record(
        reference(pod),
        k8s::EventType::kNormal,
        "Scheduled",
        "Successfully assigned " + pod.key() + " to " + node
    );
}

void PodWriter::not_scheduled(
    const SchedPod& pod,
    const std::string& reason,
    const std::string& text,
    const std::string& nominated
) {
    events_.record(reference(pod), k8s::EventType::kWarning, "FailedScheduling", text);
    if (pod.condition == reason + " " + text && nominated.empty()) return;
    json::object status{
        {"conditions",
         json::array{
             {{"type", "PodScheduled"},
              {"status", "False"},
              {"reason", reason},
              {"message", text}}}}};
    if (!nominated.empty()) status["nominatedNodeName"] = nominated;
    const json::value patch{{"metadata", {{"uid", pod.uid}}}, {"status", std::move(status)}};
    auto done = client_.patch(
        k8s::pod_path(pod.ns, pod.name) + "/status", patch, k8s::PatchType::kStrategic, call()
    );
    if (!done) {
        log::debug("status not written", {{"pod", pod.key()}, {"why", done.error().message}});
    }
}

void PodWriter::evict(const SchedPod& victim, const SchedPod& by, const std::string& node) {
    events_.record(
        reference(victim),
        k8s::EventType::kNormal,
        "Preempted",
        "Preempted by pod " + by.uid + " on node " + node
    );
    const json::value options{
        {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", {{"uid", victim.uid}}}};
    auto done = client_.del(k8s::pod_path(victim.ns, victim.name), options, call());
    if (!done && done.error().code != ErrorCode::kNotFound) {
        log::warn("victim not deleted", {{"pod", victim.key()}, {"why", done.error().message}});
    }
}

}  // namespace egpu::sim
