// Where pods would go if they were taken off their nodes: a working copy of a cluster's cards, CPU
// and memory on which moves are tried with the planner's own search. Pure. Internal to defragment.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/card_search.h"
#include "core/cluster.h"
#include "core/cluster_use.h"

namespace egpu::core {

struct CardSpot {
    int node = 0;  // position in the list of NodeUse
    int card = 0;

    bool operator==(const CardSpot&) const = default;
};

struct PodMove {
    int pod = 0;   // position in Cluster::pods
    int from = 0;  // positions in the list of NodeUse
    int to = 0;
    std::vector<int> cards;  // positions on `to`, by container
};

class Relocation {
  public:
    Relocation(const Cluster& cluster, std::span<const NodeUse> uses);

    struct Rules {
        bool open_empty = true;  // pods may go to cards that nobody uses, though not if others do
        int keep_empty = -1;     // a node whose empty cards stay empty whatever `open_empty` says
        int branches = 3;        // destinations tried for each pod; all of them: exact
        int steps = 200;         // destinations tried at all
    };
    enum class Outcome { kMoved, kNoPlace, kGaveUp };
    struct Result {
        Outcome outcome = Outcome::kNoPlace;
        std::vector<PodMove> moves;  // by pod, as given
        int stuck = -1;              // kNoPlace: a pod for which nothing was found
    };
    // Takes the pods off and puts each on another card, none on those of `cleared`. What was done
    // stays when it is kMoved, else nothing.
    Result move(
        std::span<const std::pair<int, int>> pods,
        std::span<const CardSpot> cleared,
        const Rules& rules
    );
    // Takes back the last move() that was kMoved.
    void undo();

    // Of a node: cards that are healthy, empty now, and of an acceptable model.
    int empty_cards(int node, std::span<const std::string> models) const;
    long searches() const { return searches_; }  // plans made so far: the measure of work

  private:
    struct Room {
        std::vector<CardView> cards;
        std::vector<int> models;  // by card, as numbered in model_names_
        HostAmounts host;
        bool open = false;
        int replicas = 1;
    };
    struct Held {
        int pod = 0;
        int node = 0;
        std::vector<CardUse> uses;
    };
    void take(const Held& held, int sign);
    bool place(std::size_t next, const Rules& rules, Result& result);
    bool fits_on(
        int node, int pod, const Rules& rules, CardChoice& choice, std::vector<CardUse>& uses
    );
    bool may_fit(const Room& room, int pod, int from, int node, const Rules& rules, int& rank)
        const;
    CardSearch& search_for(int pod, int replicas);
    bool acceptable(int pod, int model);

    const Cluster& cluster_;
    std::span<const NodeUse> uses_;
    std::vector<Room> rooms_;
    std::vector<std::string> model_names_;
    std::map<std::pair<int, int>, std::unique_ptr<CardSearch>> searches_for_;
    std::map<std::pair<int, int>, bool> acceptable_;
    std::map<int, int> largest_;  // by pod: its largest share, percent
    std::vector<Held> order_;     // of the move in progress, largest first
    std::vector<CardSpot> cleared_;
    std::vector<Held> placed_;
    std::vector<Held> undo_from_;
    std::vector<Held> undo_to_;
    std::vector<PodMove> moves_;
    int steps_ = 0;
    bool gave_up_ = false;
    std::size_t deepest_ = 0;
    long searches_ = 0;
};

}  // namespace egpu::core
