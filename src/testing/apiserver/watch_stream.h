// One watch: ADDED, MODIFIED, DELETED, BOOKMARK and ERROR lines until the time-out, the client's or
// the server's end. Runs on the connection's own thread; wakes for events of its kind only.
// Contract: kubernetes api-concepts, "Efficient detection of changes"; streaming lists
// (sendInitialEvents).
#pragma once

#include <functional>

#include "http/server.h"
#include "testing/apiserver/rest.h"

namespace egpu::testing {

struct WatchSettings {
    Duration bookmark_interval;
    // Called with every event before it is sent.
    std::function<void(EventType, const ObjectPtr&)> on_event;
};

void serve_watch(
    http::Exchange& exchange,
    const Target& target,
    const Rest& rest,
    const ObjectStore& store,
    const WatchSettings& settings
);

}  // namespace egpu::testing
