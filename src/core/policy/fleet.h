// All nodes of a cluster as one policy sees them: answers how good a node is for a pod and which
// card it should take, and keeps what the policy has to know for that (demand, values of rooms).
//
// Scores come from an Outlook: an immutable picture of the expected demand and of what is scarce.
// It changes only in install(), so the scores of nodes whose room did not change stay as they are
// between two installs, and are kept per shape. Making a new Outlook and warming its values may
// take many milliseconds; that work lies in a Refresh, which needs the Fleet only at its beginning
// and end and can run in slices or on another thread:
//
//   if (fleet.refresh_due()) job = fleet.prepare(true);  // copies rooms, demand; under the lock
//   while (!job->step(100)) {}                           // anywhere, without the lock
//   fleet.install(std::move(*job));                      // under the lock; cheap
//
// The simulator does all three at once and without warming, which gives the same scores.
// Not thread-safe; const members may run beside each other. Reads no clock; deterministic.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/policy/demand_statistics.h"
#include "core/policy/futures.h"
#include "core/policy/scarcity.h"
#include "core/policy/scorer.h"
#include "core/room.h"

namespace egpu::core {

// Dense and small; the owner's own numbering. Ties go to the lowest.
using FleetNode = std::uint32_t;

struct FleetOptions {
    double half_life = 0;               // of the demand, in arrivals; 0: nothing is forgotten
    std::uint64_t seed = 0;             // of imagined futures and of `random`
    int price_period = 50;              // arrivals between two looks at what is scarce
    std::size_t max_values = 4U << 20;  // rooms whose values are kept; about 72 bytes each
    std::size_t max_shapes = 1024;      // learned, and with scores kept
    FutureOptions futures;              // its seed is `seed`
    ScarcityOptions scarcity;
};

// What a node would get for a pod.
struct Choice {
    bool fits = false;
    double score = 0;
    Room after;
    int card = -1;  // of a share; whole cards are the lowest-numbered free ones
};

struct Pick {
    FleetNode node = 0;
    Choice choice;
};

class Refresh;

class Fleet {
  public:
    Fleet(const Scorer& scorer, const FleetOptions& options = {});
    ~Fleet();
    Fleet(Fleet&&) noexcept;
    Fleet& operator=(Fleet&&) noexcept;

    const Scorer& scorer() const { return *scorer_; }

    // --- the cluster ---

    // Adds the node or changes its room: at most kRoomCards cards, a model below kMaxModels. Cheap;
    // departures are changes of room like any other.
    void set_room(FleetNode node, const Room& room);
    void remove_node(FleetNode node);
    const Room* room(FleetNode node) const;  // nullptr when there is no such node

    // --- the demand ---

    // Every pod once, when it is first seen, whether or not it fits somewhere.
    void arrived(const Shape& shape);
    // Demand known beforehand instead of learned: arrived() then changes nothing.
    void know_demand(std::span<const ShapeWeight> demand);

    bool refresh_due() const;
    // With `warm`, step() also computes the values that the scores asked for of late will need.
    std::unique_ptr<Refresh> prepare(bool warm = false) const;
    void install(Refresh&& refresh);
    // refresh_due, prepare and install at once, without warming.
    void refresh_if_due();

    // --- answers ---

    // A pod of one container: best card and score on this node. `pod_key` only matters to random.
    Choice choose(FleetNode node, const Shape& shape, std::uint64_t pod_key = 0);
    // A pod whose cards somebody else has planned: the node would be left with `after`.
    double score(FleetNode node, const Room& after, const Shape& shape, std::uint64_t pod_key = 0);
    // The scores of one shape on many nodes; NaN where it does not fit. From the kept scores: a
    // few nanoseconds for a node whose room has not changed since the last question.
    void scores(
        std::span<const FleetNode> nodes,
        const Shape& shape,
        std::span<double> out,
        std::uint64_t pod_key = 0
    );
    // The best node of all, or nullopt when none fits.
    std::optional<Pick> place(const Shape& shape, std::uint64_t pod_key = 0);

  private:
    struct State;
    const Scorer* scorer_;
    std::unique_ptr<State> state_;
};

// A new Outlook in the making. Independent of the Fleet it came from until it is installed.
class Refresh {
  public:
    ~Refresh();
    // Does up to about `values` evaluations (1 to 10 us each); true when all is done.
    bool step(int values);

  private:
    friend class Fleet;
    struct Work;
    explicit Refresh(std::unique_ptr<Work> work);
    std::unique_ptr<Work> work_;
};

}  // namespace egpu::core
