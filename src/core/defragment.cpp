#include "core/defragment.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "core/clearable_cards.h"
#include "core/model.h"

namespace egpu::core {
namespace {

constexpr std::size_t kTries = 2000;
constexpr long kSearches = 50'000;  // plans of one answer: some 100 ms

class Advisor {
  public:
    Advisor(
        const Cluster& cluster, const std::vector<NodeUse>& uses, const FreeCardsRequest& request
    )
        : cluster_(cluster), uses_(uses), request_(request), relocation_(cluster, uses) {}

    FreeCardsPlan run() {
        count_free();
        if (plan_.free_now >= request_.cards) {
            plan_.possible = plan_.smallest = true;
            return plan_;
        }
        if (!enough_healthy()) return plan_;
        if (request_.anywhere) {
            free_anywhere();
        } else {
            free_on_one_node();
        }
        if (!plan_.possible && plan_.why_not.empty()) explain();
        return plan_;
    }

  private:
    int node_count() const { return static_cast<int>(uses_.size()); }
    const ClusterNode& node_of(int use) const { return cluster_.nodes[uses_[use].node]; }

    bool wanted(const CardState& state) const {
        return state.card.healthy && model_acceptable(request_.models, state.card.model);
    }

    void count_free() {
        for (int node = 0; node < node_count(); ++node) {
            const int free =
                node_of(node).open() ? relocation_.empty_cards(node, request_.models) : 0;
            free_.push_back(free);
            if (request_.anywhere) {
                plan_.free_now += free;
            } else if (free > plan_.free_now || plan_.node < 0) {
                plan_.free_now = free;
                plan_.node = node;
            }
        }
    }

    bool enough_healthy() {
        int most = 0;
        int all = 0;
        for (int node = 0; node < node_count(); ++node) {
            if (!node_of(node).open()) continue;
            const auto& cards = uses_[node].cards;
            const auto healthy = std::count_if(cards.begin(), cards.end(), [&](const CardState& c) {
                return wanted(c);
            });
            most = std::max(most, static_cast<int>(healthy));
            all += static_cast<int>(healthy);
        }
        const int there = request_.anywhere ? all : most;
        if (there >= request_.cards) return true;
        const std::string kind =
            request_.models.empty() ? "healthy cards" : "healthy cards of such a model";
        plan_.why_not =
            request_.anywhere
                ? "all nodes that take pods have " + std::to_string(all) + " " + kind + " together"
                : "no node that takes pods has more than " + std::to_string(most) + " " + kind;
        return false;
    }

    // The node's cards all of whose pods are known and may move.
    ClearableCards clearable(int node) {
        ClearableCards found;
        const NodeUse& use = uses_[node];
        if (!node_of(node).open()) return found;
        for (int card = 0; card < static_cast<int>(use.cards.size()); ++card) {
            const CardState& state = use.cards[card];
            if (!wanted(state) || state.used_percent <= 0) continue;
            int known = 0;
            bool stays = false;
            std::vector<int> pods;
            for (const HeldPod& held : use.pods) {
                for (const CardUse& part : held.uses) {
                    if (part.card != card) continue;
                    known += part.percent;
                    pods.push_back(held.pod);
                    const std::string pin = pinned_by(cluster_.pods[held.pod]);
                    if (!pin.empty()) ++pinned_[pin];
                    stays = stays || !pin.empty() || immovable_.contains(held.pod);
                }
            }
            if (stays || known < state.used_percent) continue;
            found.cards.push_back({node, card});
            found.pods.push_back(std::move(pods));
            found.percent.push_back(state.used_percent);
        }
        return found;
    }

    void add_sets(const ClearableCards& from, int need, int node, std::vector<CardSet>& sets) {
        const auto mine = from.sets(need, node);
        sets.insert(sets.end(), mine.sets.begin(), mine.sets.end());
        not_looked_at_ = std::min(not_looked_at_, mine.left_out);
    }

    Relocation::Rules rules(int node) const {
        Relocation::Rules rules;
        rules.open_empty = !request_.anywhere;
        rules.keep_empty = node;
        if (node_count() <= kExactNodes) {
            rules.branches = node_count();
            rules.steps = 5000;
        }
        return rules;
    }

    // A pod that finds no place even alone stays where it is, whatever else moves.
    bool movable(int pod, int node) {
        if (immovable_.contains(pod)) return false;
        if (movable_.contains(pod)) return true;
        Relocation::Rules alone = rules(node);
        alone.branches = 1;
        alone.steps = node_count();
        const std::pair<int, int> one{pod, node};
        std::vector<CardSpot> held;
        for (const HeldPod& other : uses_[node].pods) {
            if (other.pod != pod) continue;
            for (const CardUse& use : other.uses) held.push_back({node, use.card});
        }
        const auto result = relocation_.move({&one, 1}, held, alone);
        if (result.outcome == Relocation::Outcome::kMoved) {
            relocation_.undo();
            movable_.insert(pod);
            return true;
        }
        if (result.outcome == Relocation::Outcome::kNoPlace) immovable_.insert(pod);
        return result.outcome != Relocation::Outcome::kNoPlace;
    }

    // Tries the set; fills the plan when all its pods find a place.
    bool try_set(const ClearableCards& from, const CardSet& set) {
        std::vector<CardSpot> cleared;
        std::vector<std::pair<int, int>> pods;
        for (std::uint32_t rest = set.cards; rest != 0; rest &= rest - 1) {
            const int card = std::countr_zero(rest);
            cleared.push_back(from.cards[card]);
            for (const int pod : from.pods[card]) {
                const std::pair<int, int> one{pod, from.cards[card].node};
                if (std::find(pods.begin(), pods.end(), one) == pods.end()) pods.push_back(one);
            }
        }
        for (const auto& [pod, node] : pods) {
            if (!movable(pod, node)) return false;
        }
        auto result = relocation_.move(pods, cleared, rules(set.node));
        if (result.outcome == Relocation::Outcome::kMoved) {
            plan_.moves.insert(plan_.moves.end(), result.moves.begin(), result.moves.end());
            return true;
        }
        if (result.outcome == Relocation::Outcome::kGaveUp) {
            not_looked_at_ = std::min(not_looked_at_, set.pods);
        }
        if (stuck_ < 0) stuck_ = result.stuck;
        return false;
    }

    bool try_in_order(const std::map<int, ClearableCards>& from, std::vector<CardSet>& sets) {
        std::sort(sets.begin(), sets.end());
        for (std::size_t i = 0; i < sets.size(); ++i) {
            if (i >= kTries || relocation_.searches() > kSearches) {
                plan_.why_not = "no set of pods that could move was found among the " +
                                std::to_string(i) + " smallest";
                return false;
            }
            if (!try_set(from.at(sets[i].node), sets[i])) continue;
            plan_.possible = true;
            plan_.smallest = sets[i].pods <= not_looked_at_;
            plan_.node = sets[i].node;
            return true;
        }
        return false;
    }

    void free_on_one_node() {
        std::map<int, ClearableCards> from;
        std::vector<CardSet> sets;
        for (int node = 0; node < node_count(); ++node) {
            const int need = request_.cards - free_[node];
            ClearableCards mine = clearable(node);
            if (static_cast<int>(mine.cards.size()) < need) continue;
            if (mine.cards.size() > ClearableCards::kMostForSets) not_looked_at_ = 0;
            mine.keep_cheapest();
            add_sets(mine, need, node, sets);
            from.emplace(node, std::move(mine));
        }
        try_in_order(from, sets);
    }

    void free_anywhere() {
        ClearableCards all;
        for (int node = 0; node < node_count(); ++node) {
            ClearableCards mine = clearable(node);
            all.cards.insert(all.cards.end(), mine.cards.begin(), mine.cards.end());
            all.pods.insert(all.pods.end(), mine.pods.begin(), mine.pods.end());
            all.percent.insert(all.percent.end(), mine.percent.begin(), mine.percent.end());
        }
        const int need = request_.cards - plan_.free_now;
        plan_.node = -1;
        if (all.cards.size() <= ClearableCards::kMostForSets) {
            std::map<int, ClearableCards> from;
            std::vector<CardSet> sets;
            add_sets(all, need, -1, sets);
            from.emplace(-1, std::move(all));
            try_in_order(from, sets);
            return;
        }
        one_by_one(all, need);
    }

    // The cheapest card that can be cleared, again and again.
    void one_by_one(const ClearableCards& all, int need) {
        std::set<int> moved;
        std::set<std::pair<int, int>> filled;  // a card that took a moved pod is not cleared
        std::vector<CardSpot> cleared;
        std::vector<PodMove> moves;
        int freed = 0;
        for (const int card : all.cheapest_first()) {
            if (freed == need || relocation_.searches() > kSearches) break;
            const CardSpot spot = all.cards[card];
            if (filled.contains({spot.node, spot.card})) continue;
            std::vector<std::pair<int, int>> pods;
            for (const int pod : all.pods[card]) {
                if (!moved.contains(pod)) pods.emplace_back(pod, spot.node);
            }
            cleared.push_back(spot);
            const auto result = relocation_.move(pods, cleared, rules(-1));
            if (result.outcome != Relocation::Outcome::kMoved) {
                cleared.pop_back();
                if (stuck_ < 0) stuck_ = result.stuck;
                continue;
            }
            ++freed;
            for (const PodMove& move : result.moves) {
                moved.insert(move.pod);
                for (const int at : move.cards) filled.insert({move.to, at});
                moves.push_back(move);
            }
        }
        if (freed < need) {
            plan_.why_not = "pods of " + std::to_string(freed) +
                            " cards find a place on cards that are in use, " +
                            std::to_string(need) + " more cards are needed";
            return;
        }
        plan_.possible = true;
        plan_.moves = std::move(moves);
        // One pod for each card is the least there can be, where none has several.
        std::map<int, int> cards_of_pod;
        for (const auto& pods : all.pods) {
            for (const int pod : pods) ++cards_of_pod[pod];
        }
        const bool several = std::any_of(
            cards_of_pod.begin(), cards_of_pod.end(), [](const auto& pod) { return pod.second > 1; }
        );
        plan_.smallest = !several && static_cast<int>(plan_.moves.size()) <= need;
    }

    void explain() {
        std::string pinned;
        for (const auto& [why, count] : pinned_) {
            pinned += (pinned.empty() ? "" : ", ") + std::to_string(count) + " " + why;
        }
        const int stuck = stuck_ >= 0 ? stuck_ : !immovable_.empty() ? *immovable_.begin() : -1;
        if (stuck >= 0) {
            const ClusterPod& pod = cluster_.pods[stuck];
            plan_.why_not =
                "the pods that would have to move find no place elsewhere, for example " +
                pod.id.ns + "/" + pod.id.name + " on " + pod.node;
        } else {
            plan_.why_not =
                request_.anywhere
                    ? "too few cards are held by pods that can be moved"
                    : "no node has enough cards that are free or held by pods that can be moved";
        }
        if (!pinned.empty()) plan_.why_not += " (not movable: " + pinned + ")";
    }

    const Cluster& cluster_;
    const std::vector<NodeUse>& uses_;
    const FreeCardsRequest& request_;
    Relocation relocation_;
    FreeCardsPlan plan_;
    std::vector<int> free_;
    std::set<int> movable_;
    std::set<int> immovable_;
    std::map<std::string, int> pinned_;
    int not_looked_at_ = std::numeric_limits<int>::max();  // pods of the smallest set left out
    int stuck_ = -1;
};

}  // namespace

std::string pinned_by(const ClusterPod& pod) {
    if (pod.deleting) return "being deleted";
    if (pod.owner == "Node") return "static pod";
    if (pod.owner == "DaemonSet") return pod.owner;
    return "";
}

FreeCardsPlan plan_free_cards(
    const Cluster& cluster, const std::vector<NodeUse>& uses, const FreeCardsRequest& request
) {
    return Advisor(cluster, uses, request).run();
}

}  // namespace egpu::core
