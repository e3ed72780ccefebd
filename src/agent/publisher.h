// Tells the API server what only the node knows: its cards and how containers get
// them (Node annotations edge-gpu.io/cards and edge-gpu.io/injection) and
// placements that differ from what the pod's annotations say (pod bound without the extender, or
// another card), as annotations and an Event.
//
// One thread. On change only; retried with back-off for as long as the link is down. What waits is
// bounded: the newest cards and one report per pod. A report that is lost is made again by the
// reconciliation. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/backoff.h"
#include "base/clock.h"
#include "core/placement.h"
#include "k8s/client.h"
#include "k8s/events.h"

namespace egpu::agent {

// "<strategy>: <why>", for people.
inline constexpr std::string_view kAnnotationInjection = "edge-gpu.io/injection";

struct PlacementReport {
    std::string uid;  // the API server's
    std::string ns;
    std::string name;
    core::Placement placement;
    std::string message;  // for the Event

    bool operator==(const PlacementReport&) const = default;
};

struct PublisherOptions {
    std::string node_name;
    std::size_t most_reports = 512;
    Duration call_timeout = Seconds(5);
    Duration retry_first = Millis(500);
    Duration retry_most = Seconds(60);
    Duration repeat_report = Seconds(10);  // the same pod is not patched more often
};

class Publisher {
  public:
    Publisher(const k8s::Client& client, PublisherOptions options);
    ~Publisher();  // stop()
    Publisher(const Publisher&) = delete;
    Publisher& operator=(const Publisher&) = delete;

    void start();
    void stop();

    // Values of the Node annotations edge-gpu.io/cards and edge-gpu.io/injection.
    void publish_cards(std::string cards, std::string injection);
    void report(PlacementReport report);
    // A warning event; written when it can be, dropped when too many wait.
    void warn(const k8s::ObjectReference& about, std::string_view reason, std::string_view message);
    // The link may be back: try now.
    void kick();

    bool cards_published() const;
    std::size_t waiting_reports() const;

  private:
    struct NodeTexts {
        std::string cards;
        std::string injection;

        bool operator==(const NodeTexts&) const = default;
    };
    struct Sent {
        PlacementReport report;
        TimePoint at;
    };
    void run();
    Status send_cards(const NodeTexts& wanted);
    Status send_report(const PlacementReport& report);
    bool work(std::unique_lock<std::mutex>& lock);

    const k8s::Client client_;
    const PublisherOptions options_;
    k8s::EventRecorder events_;

    mutable std::mutex mutex_;  // guards what follows; never held during a call
    std::condition_variable wake_;
    bool stopping_ = false;
    bool kicked_ = false;
    std::optional<NodeTexts> cards_;      // wanted, not sent yet
    std::optional<NodeTexts> published_;  // what the Node carries
    std::map<std::string, PlacementReport> reports_;
    std::map<std::string, Sent> sent_;
    std::string last_error_;
    Backoff backoff_;
    std::thread thread_;
};

}  // namespace egpu::agent
