// EventRecorder: Kubernetes events about pods and nodes (core/v1 Event), which `kubectl describe`
// shows. A bounded queue and one thread: record() never blocks and never fails; when the API server
// is away or slow the oldest events are dropped and counted. Repeats of one event become one object
// whose count is patched. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "k8s/client.h"

namespace egpu::k8s {

enum class EventType { kNormal, kWarning };

struct ObjectReference {
    std::string kind = {};  // "Pod", "Node"
    std::string ns = {};    // "" for nodes: their events go to "default"
    std::string name = {};
    std::string uid = {};
    std::string api_version = "v1";
};
ObjectReference reference_to(const Pod& pod);
// The UID of a Node's events is its name, as the kubelet writes them, so that `describe` finds
// them.
ObjectReference reference_to_node(std::string_view name);

struct EventOptions {
    std::string component = {};  // source.component: "edge-gpu-scheduler"
    std::string host = {};       // source.host, "" to leave out
    std::size_t max_queue = 1000;
    double rate = 10;                       // writes per second to the API server …
    int burst = 50;                         // … after this many at once
    Duration aggregate_for = Seconds(600);  // repeats within this time are counted, not created
    Duration write_timeout = Seconds(5);
};

class EventRecorder {
  public:
    EventRecorder(Client client, EventOptions options);
    ~EventRecorder();  // stop(0)
    EventRecorder(const EventRecorder&) = delete;
    EventRecorder& operator=(const EventRecorder&) = delete;

    // `reason`: CamelCase, at most 128 characters; `message` is cut to 1024.
    void record(
        const ObjectReference& about,
        EventType type,
        std::string_view reason,
        std::string_view message
    );
    // Writes what is queued for at most `grace`, then ends the thread. Idempotent.
    void stop(Duration grace);

    std::size_t dropped() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::k8s
