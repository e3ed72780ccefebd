#include "scheduler/objects_for_test.h"

namespace egpu::scheduler {

TestPod share_pod(std::string name, int percent) {
    TestPod pod;
    pod.name = std::move(name);
    pod.containers.push_back({.name = "main", .percent = std::to_string(percent)});
    return pod;
}

std::string uid_of(const TestPod& pod) {
    return pod.uid.empty() ? "uid-" + pod.name : pod.uid;
}

json::value pod_json(const TestPod& pod) {
    json::object metadata{{"name", pod.name}, {"namespace", "default"}, {"uid", uid_of(pod)}};
    if (!pod.annotations.empty()) {
        json::object annotations;
        for (const auto& [key, value] : pod.annotations) annotations[key] = value;
        metadata["annotations"] = std::move(annotations);
    }
    if (pod.deleting) {
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z";
        metadata["deletionGracePeriodSeconds"] = 30;
    }
    json::array init;
    json::array app;
    for (const TestContainer& container : pod.containers) {
        json::object limits;
        if (!container.percent.empty()) limits["nano-gpu/gpu-percent"] = container.percent;
        if (!container.whole.empty()) limits["nvidia.com/gpu"] = container.whole;
        json::object one{
            {"name", container.name},
            {"image", "busybox"},
            {"resources", json::object{{"limits", limits}, {"requests", limits}}}};
        if (container.sidecar) one["restartPolicy"] = "Always";
        (container.init || container.sidecar ? init : app).push_back(std::move(one));
    }
    if (app.empty()) app.push_back(json::object{{"name", "app"}, {"image", "busybox"}});
    json::object spec{{"containers", std::move(app)}};
    if (!init.empty()) spec["initContainers"] = std::move(init);
    if (!pod.node.empty()) spec["nodeName"] = pod.node;
    if (pod.priority != 0) spec["priority"] = pod.priority;
    return json::object{
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata", std::move(metadata)},
        {"spec", std::move(spec)},
        {"status", json::object{{"phase", pod.phase}}}};
}

json::value node_json(std::string_view name, int percent) {
    json::object units{{"cpu", "8"}, {"memory", "32Gi"}, {"pods", "110"}};
    if (percent > 0) units["nano-gpu/gpu-percent"] = std::to_string(percent);
    return json::object{
        {"apiVersion", "v1"},
        {"kind", "Node"},
        {"metadata", json::object{{"name", name}}},
        {"status", json::object{{"capacity", units}, {"allocatable", units}}}};
}

json::value node_with_cards_json(std::string_view name, int cards, std::string_view model) {
    json::array list;
    for (int i = 0; i < cards; ++i) {
        list.push_back(json::object{
            {"uuid", "GPU-" + std::string(name) + "-" + std::to_string(i)},
            {"index", i},
            {"model", model},
            {"memoryMiB", 15360},
            {"healthy", true}});
    }
    json::value node = node_json(name, cards * 100);
    node.at("metadata").as_object()["annotations"] = json::object{
        {"edge-gpu.io/cards", json::to_text(json::object{{"version", 1}, {"cards", list}})}};
    return node;
}

std::string filter_body(const TestPod& pod, const std::vector<std::string>& nodes) {
    json::array names(nodes.begin(), nodes.end());
    return json::to_text(json::object{
        {"Pod", pod_json(pod)}, {"Nodes", nullptr}, {"NodeNames", std::move(names)}});
}

std::string filter_body_with_nodes(const TestPod& pod, const std::vector<json::value>& nodes) {
    json::array items(nodes.begin(), nodes.end());
    return json::to_text(json::object{
        {"Pod", pod_json(pod)},
        {"Nodes", json::object{{"metadata", json::object{}}, {"items", std::move(items)}}},
        {"NodeNames", nullptr}});
}

std::string bind_body(const TestPod& pod, std::string_view node) {
    return json::to_text(json::object{
        {"PodName", pod.name}, {"PodNamespace", "default"}, {"PodUID", uid_of(pod)}, {"Node", node}}
    );
}

Options quick_options() {
    Options options;
    options.listen = "127.0.0.1:0";
    options.policy = "binpack";
    return options;
}

}  // namespace egpu::scheduler
