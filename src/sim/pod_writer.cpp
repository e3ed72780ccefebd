#include "sim/pod_writer.h"

#include <utility>

#include "base/log.h"
#include "sim/kubelet_objects.h"

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

PodWriter::PodWriter(k8s::Client client, StopToken stop, testing::Dialect dialect)
    : client_(std::move(client)),
      stop_(std::move(stop)),
      dialect_(dialect),
      events_(client_, event_options()) {}

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

Status PodWriter::patch_status(const SchedPod& pod, json::object status) {
    const json::value patch{{"metadata", {{"uid", pod.uid}}}, {"status", std::move(status)}};
    const std::string path = k8s::pod_path(pod.ns, pod.name) + "/status";
    auto done = client_.patch(path, patch, k8s::PatchType::kStrategic, call());
    if (done) return ok_status();
    log::debug("status not written", {{"pod", pod.key()}, {"why", done.error().message}});
    return done.error();
}

void PodWriter::not_scheduled(
    const SchedPod& pod,
    const std::string& reason,
    const std::string& text,
    const std::optional<std::string>& nominated
) {
    events_.record(reference(pod), k8s::EventType::kWarning, "FailedScheduling", text);
    const bool nominates = nominated && *nominated != pod.nominated_node;
    if (pod.condition == reason + " " + text && !nominates) return;
    json::object status{
        {"conditions",
         json::array{
             {{"type", "PodScheduled"},
              {"status", "False"},
              {"reason", reason},
              {"message", text}}}}};
    if (nominates && nominated->empty()) status["nominatedNodeName"] = nullptr;
    if (nominates && !nominated->empty()) status["nominatedNodeName"] = *nominated;
    (void)patch_status(pod, std::move(status));
}

void PodWriter::clear_nomination(const SchedPod& pod) {
    (void)patch_status(pod, {{"nominatedNodeName", nullptr}});
}

Status PodWriter::evict(const SchedPod& victim, const SchedPod& by, const std::string& node) {
    const bool marks = dialect_ == testing::Dialect::k1_34;
    if (marks && !victim.preempted) {
        EG_TRY_VOID(patch_status(
            victim,
            {{"conditions",
              json::array{
                  {{"type", "DisruptionTarget"},
                   {"status", "True"},
                   {"reason", "PreemptionByScheduler"},
                   {"message",
                    by.scheduler_name + ": preempting to accommodate a higher priority pod"},
                   {"lastTransitionTime", api_time(std::chrono::system_clock::now())}}}}}
        ));
    }
    const json::value options{
        {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", {{"uid", victim.uid}}}};
    auto done = client_.del(k8s::pod_path(victim.ns, victim.name), options, call());
    if (!done) return done.error().wrap("victim " + victim.key());
    events_.record(
        reference(victim),
        k8s::EventType::kNormal,
        "Preempted",
        "Preempted by " + (marks ? "pod " + by.uid : by.key()) + " on node " + node
    );
    return ok_status();
}

}  // namespace egpu::sim
