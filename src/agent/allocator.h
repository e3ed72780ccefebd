// Owner of the node's ledger: one mutex, no I/O under it. Every change is made durable, shown to
// the kubelet (device lists) and told to whoever reconciles and reports.
//
// Order: a change is decided under the mutex, where it gets a sequence number and a copy of the
// state is taken; the copy is written to disk outside of it, before Allocate is answered. Two
// writers may reach the disk in the wrong order: the later copy contains the earlier change, and
// StateFile skips the older one. A write that fails does not fail the pod: the record can be
// rebuilt from the kubelet's checkpoint, which keeps our answer; it is logged, counted and
// repeated. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/node_ledger.h"
#include "agent/state_file.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "gpu/inventory.h"
#include "inject/injector.h"
#include "kubelet/types.h"

namespace egpu::agent {

class Allocator {
  public:
    struct Hooks {
        // The complete list of a resource's devices; called in order of the changes, without the
        // ledger's mutex.
        std::function<void(Resource, std::vector<kubelet::Device>)> show_devices;
        // Something changed that a reconciliation should look at.
        std::function<void()> changed;
        // What a container with this record is given beside its cards; may be empty. True: the
        // guard is part of it.
        std::function<bool(const Record&, inject::ContainerEdits&)> extend = {};
    };

    // `distribute_replicas`: NodeLedger::distribute_replicas.
    Allocator(
        StateFile& file, std::unique_ptr<inject::Injector> injector, bool distribute_replicas = true
    );

    // Once, before any other thread uses it. Takes over the loaded state; its cards are
    // provisional.
    void start(NodeState state, Hooks hooks);

    // What the driver says. Cards with the driver not answering since the start stay provisional.
    void set_inventory(const gpu::Inventory& inventory);
    bool driver_answered() const;

    std::vector<std::string> preferred(
        Resource resource,
        std::span<const std::string> available,
        std::span<const std::string> must_include,
        int size,
        std::span<const Candidate> candidates
    );
    // No network, no pod-resources: only memory and the state file.
    Result<kubelet::AllocateResponse> allocate(
        Resource resource,
        std::span<const std::string> ids,
        std::span<const Candidate> pod_containers
    );
    // Time since the last preferred() or allocate(): pod-resources List is best not called in the
    // middle of an admission.
    Duration quiet_for() const;
    bool allocating() const { return allocating_.load() > 0; }

    // One change to the ledger; durable and shown when it returns. `edit` says whether it changed
    // anything.
    void edit(const std::function<bool(NodeLedger&)>& edit);
    // NodeLedger::set_ended for the records whose pod `ended` knows; shown, nothing to make
    // durable. `ended` is called under the mutex.
    void offer_ended(const std::function<bool(std::string_view pod_uid)>& ended);
    // A look at the ledger under the mutex; `look` must be short.
    void look(const std::function<void(const NodeLedger&)>& look) const;

    std::vector<Record> records() const;
    std::vector<core::Card> cards() const;
    gpu::Inventory inventory() const;

    // Makes on the node what answers name (inject::Injector::ensure). The error is of the cards
    // `starting` (UUIDs), whose container is about to start; it is logged once.
    Status ensure_artefacts(std::span<const std::string> starting);
    // The strategy in effect, and why.
    std::string injection() const;
    std::string injection_reason() const;

    // Repeats a failed write; nothing to do otherwise.
    void retry_save();
    // Sends the device lists again, for plugins that start later.
    void show_devices();

  private:
    struct Snapshot {
        std::uint64_t sequence = 0;
        NodeState state;
    };
    Snapshot snapshot_locked();
    void commit(const Snapshot& snapshot);
    void update_metrics();

    StateFile& file_;
    const std::unique_ptr<inject::Injector> injector_;
    Hooks hooks_;

    mutable std::mutex mutex_;  // guards the five below
    NodeLedger ledger_;
    gpu::Inventory inventory_;
    std::uint64_t sequence_ = 0;
    TimePoint last_admission_{};
    std::string ensure_error_;  // the last one, so that it is logged once

    std::mutex metrics_mutex_;               // guards the next; taken before mutex_
    std::vector<metrics::Labels> measured_;  // the cards that have metrics

    std::mutex show_mutex_;  // keeps the lists in order; never taken under mutex_
    std::atomic<bool> save_failed_{false};
    std::atomic<int> allocating_{0};
};

// 128 random bits in hexadecimal.
std::string new_token();

}  // namespace egpu::agent
