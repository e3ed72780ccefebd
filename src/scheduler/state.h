// State: the one owner of the ledger and its mutex. The watches write the cluster's truth into it,
// filter, priorities and preempt ask it, bind reserves in it. Every call takes the lock once, does
// no I/O, and returns plain copies. Thread-safe.
//
// Pods are added by the watch, by a bind's read-back and by the list after a change of leader; a
// removed UID is remembered for a while, so that an older answer cannot bring the pod back.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "core/ledger.h"
#include "core/policy/live_fleets.h"
#include "k8s/extender.h"
#include "scheduler/hand_over.h"
#include "scheduler/pod_facts.h"

namespace egpu::scheduler {

struct StateOptions {
    core::LedgerOptions ledger;
    // For pods that name none: one of the ledger's own (binpack, spread, random) or of
    // core/policy/scorer.h. "" is the ledger's.
    std::string policy;
    core::LiveOptions live;
    Duration reservation_ttl = Seconds(30);  // of a bind in flight
    Duration confirm_after = Seconds(3);  // a bound pod that no watch showed by then is looked up
    Duration hand_over = Millis(250);     // see HandOver
};

// What filter says about each candidate, by position in args.nodes.
struct FilterOutcome {
    std::vector<std::uint32_t> fitting;
    std::vector<k8s::FailedNode> failed;
    std::vector<k8s::FilterReason> reasons;  // of `failed`
    // Of all candidates, to be known when they come again; empty when they were not looked up.
    std::vector<std::optional<core::NodeId>> ids;
    std::uint64_t names_version = 0;
};

// Nodes that were looked up before, by position.
struct KnownNodes {
    std::shared_ptr<const k8s::KnownNames> names;
    std::vector<std::optional<core::NodeId>> ids;
    std::uint64_t version = 0;  // of the ledger's names
};

// The cards a bind may write, or why there are none.
struct Reservation {
    enum class Kind { kReserved, kAlreadyBound, kRefused };
    Kind kind = Kind::kRefused;
    core::Placement placement;  // kReserved, kAlreadyBound
    std::string node;           // kAlreadyBound: where
    bool guessed = false;       // kAlreadyBound: the pod carries no (valid) placement
    std::string reason;         // kRefused
    TimePoint not_before{};     // kReserved: the binding is not to be written earlier (HandOver)
};

// A pod whose binding was written or is in doubt, and which no watch has shown yet.
struct UnconfirmedPod {
    std::string uid;
    std::string ns;
    std::string name;
    std::string node;
    std::uint64_t doubt = 0;  // which one; 0: the binding was written
};

class State {
  public:
    explicit State(const StateOptions& options);

    // --- the cluster's truth ---
    void upsert_node(std::string_view name, const core::NodeInventory& inventory);
    void remove_node(std::string_view name);
    // Of pods without a GPU only their CPU and memory are kept, once they are bound. An unassigned
    // pod never undoes a binding: bindings are for good, so such news is old.
    // kRead: news from a GET or a list of our own. The watch may never have heard of such a pod and
    // then never tells of its end: one that is bound and holds cards is looked up again until the
    // watch has shown it, of any other nothing is kept.
    enum class Source { kWatch, kRead };
    void upsert_pod(PodFacts pod, TimePoint now, Source source = Source::kWatch);
    void remove_pod(std::string_view uid, TimePoint now);

    // --- questions ---
    // `known`: what args.known_runs is about, or nullptr.
    FilterOutcome filter(
        const k8s::ExtenderArgs& args, const PodFacts& pod, const KnownNodes* known = nullptr
    ) const;
    std::vector<int> scores(
        const k8s::ExtenderArgs& args, const PodFacts& pod, const KnownNodes* known = nullptr
    ) const;
    // Would `pod` fit on `node` if `victims` were gone?
    bool fits_without(
        const PodFacts& pod, std::string_view node, std::span<const std::string_view> victims
    ) const;
    struct Resident {
        std::string uid;
        std::int64_t priority = 0;
    };
    // Pods on `node` that the watch has shown bound there and that hold cards, in UID order.
    std::vector<Resident> residents(std::string_view node) const;

    // --- bind ---
    // A GPU pod that the watch has shown and that is not bound; nullopt when it is not known.
    std::optional<PodFacts> pending(std::string_view uid) const;
    Reservation reserve(const PodFacts& pod, std::string_view node, TimePoint now);
    // The binding is written. Does nothing when the pod is gone meanwhile.
    void commit(
        const PodFacts& pod, std::string_view node, const core::Placement& placement, TimePoint now
    );
    void rollback(std::string_view uid);
    // The outcome is unknown: the reservation stays until it is looked up.
    void doubt(const PodFacts& pod, std::string_view node, TimePoint now);
    // The pod was read and is not bound: its doubtful bind did not happen, and what it reserved is
    // free, unless the next bind of the pod has begun meanwhile: then it is that one's.
    void refute(const UnconfirmedPod& pod);

    // --- the policies' own work, between the questions: see PolicyWorker ---
    // Waits until there may be some, at most for `limit`.
    void await_policy_work(Duration limit);
    void wake_policy_work();
    std::optional<core::LiveRefresh> begin_refresh();
    void end_refresh(core::LiveRefresh&& refresh);
    // Scores of about `nodes` nodes made ready; false when none are wanted.
    bool warm_up(std::size_t nodes);
    core::LiveTotals policy_totals() const;

    // --- housekeeping ---
    // Drops expired reservations; returns pods that are due to be looked up with the API server.
    std::vector<UnconfirmedPod> tick(TimePoint now);
    // Look the pod up again later (the API server did not answer).
    void postpone(const UnconfirmedPod& pod, TimePoint now);

    // --- inspection ---
    std::vector<std::string> node_names() const;
    std::optional<core::NodeInfo> node(std::string_view name) const;
    std::optional<core::PodInfo> pod(std::string_view uid) const;
    // CPU and memory left there; nullopt when the node is not known.
    std::optional<core::HostAmounts> host_free(std::string_view node) const;
    std::vector<core::ReservationInfo> reservations() const;
    core::LedgerTotals totals() const;
    std::size_t pending_count() const;
    std::vector<std::string> check_invariants() const;
    // Gauges of the ledger's size, for a scrape.
    void publish_gauges() const;

  private:
    struct Unconfirmed {
        UnconfirmedPod pod;
        TimePoint due;
    };
    class Hold;  // the lock, timed

    std::vector<std::optional<core::NodeId>> find_nodes(
        const k8s::ExtenderArgs& args, const KnownNodes* known
    ) const;
    bool buried(std::string_view uid) const;
    void bury(std::string_view uid, TimePoint now);
    void forget(std::string_view uid, TimePoint now);
    const core::Scorer* scorer_of(const PodFacts& pod) const;
    void note_arrival(const PodFacts& pod);

    StateOptions options_;
    mutable std::mutex mutex_;
    core::Ledger ledger_;
    // Questions make it remember their answers.
    mutable core::LiveFleets live_;
    mutable std::vector<core::NodeId> followers_;  // by node: who was behind it in the last list
    mutable bool policy_work_ = false;
    mutable std::condition_variable policy_work_there_;
    HandOver hand_over_;
    std::unordered_map<std::string, PodFacts> pending_;         // by UID; GPU pods only
    std::unordered_map<std::string, Unconfirmed> unconfirmed_;  // by UID
    std::uint64_t doubts_ = 0;
    std::unordered_map<std::uint64_t, std::int64_t> priorities_;  // by key of the UID; none: 0
    struct Grave {
        TimePoint until;
        std::uint64_t key;
    };
    std::deque<Grave> graves_;  // in order of time
    std::unordered_set<std::uint64_t> buried_;
};

}  // namespace egpu::scheduler
