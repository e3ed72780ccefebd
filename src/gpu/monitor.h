// The node's cards, watched: one thread that opens NVML, enumerates, waits for events and reports
// every change.
//
// It never gives up: a driver that is not there yet, goes away or is replaced is re-tried with
// back-off. Idle it sleeps in NVML's event wait (or, where the driver has no events, between
// polls). NVML may block for seconds; nothing else ever waits for that thread: latest() takes a
// short lock, stop() returns within a second even then. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "gpu/health.h"
#include "gpu/inventory.h"

namespace egpu::gpu {

struct MonitorOptions {
    std::string library = "libnvidia-ml.so.1";  // soname or absolute path
    std::string driver_root = "/";              // searched for the library, see nvml.h
    EnumerateOptions enumerate;
    XidPolicy xid_policy;
    HealthOptions health;
    std::vector<CardInfo> known;  // cards of an earlier run (uuid and index suffice): listed as
                                  // lost until they are seen

    Duration poll = Seconds(10);           // full look at all cards
    Duration poll_unsettled = Seconds(1);  // while a card is in doubt or recovering
    Duration wait_slice = Millis(500);     // longest single event wait: bounds stop() and refresh()
    Duration retry_first = Millis(250);    // back-off of opening NVML
    Duration retry_most = Seconds(15);
    Duration stop_deadline = Millis(900);  // then a thread stuck inside the driver is left behind
};

class Monitor {
  public:
    // Called on the monitor's thread with the full state, first after the first attempt (with
    // `error` set when that failed) and then on every change. Must not call stop(); a slow callback
    // delays the next look at the cards.
    using OnChange = std::function<void(const Inventory&)>;

    Monitor(MonitorOptions options, OnChange on_change);
    ~Monitor();  // stop()
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    void start();  // once
    // Idempotent. No callback runs after it returned.
    void stop();

    Inventory latest() const;
    // Waits until the first enumeration with cards succeeded; false after `timeout` or stop().
    bool wait_for_cards(Duration timeout) const;
    // Asks for a new look at all cards soon (within wait_slice), for example on SIGHUP.
    void refresh();

  private:
    struct Core;
    std::shared_ptr<Core> core_;
};

}  // namespace egpu::gpu
