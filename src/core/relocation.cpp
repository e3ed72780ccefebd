#include "core/relocation.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "core/card_use.h"
#include "core/model.h"

namespace egpu::core {
namespace {

// Whole cards before shares, large before small: what is hard to place first.
auto difficulty(const ClusterPod& pod) {
    int whole = 0;
    int percent = 0;
    for (const ContainerRequest& container : pod.request.containers) {
        if (container.whole) whole += container.cards;
        percent += container.percent * container.cards;
    }
    return std::tuple(-whole, -percent, -pod.request.host.cpu_milli);
}

bool enough(std::int64_t free, std::int64_t wanted) {
    return free == kHostUnlimited || free >= wanted;
}

}  // namespace

Relocation::Relocation(const Cluster& cluster, std::span<const NodeUse> uses)
    : cluster_(cluster), uses_(uses) {
    std::map<std::string, int> numbers;
    for (const NodeUse& use : uses) {
        Room room;
        room.host = use.host_free;
        room.open = cluster.nodes[use.node].open();
        for (const CardState& state : use.cards) {
            CardView view;
            view.index = state.card.index;
            view.free_percent = std::clamp(kCardUnits - state.used_percent, 0, kCardUnits);
            view.memory_mib = state.card.memory_mib;
            view.free_memory_mib =
                std::max<std::int64_t>(0, state.card.memory_mib - state.used_memory_mib);
            view.empty = state.used_percent <= 0;
            view.healthy = view.usable = state.card.healthy;
            room.cards.push_back(view);
            room.replicas = state.card.replicas;
            const auto [at, added] =
                numbers.try_emplace(state.card.model, static_cast<int>(numbers.size()));
            if (added) model_names_.push_back(state.card.model);
            room.models.push_back(at->second);
        }
        rooms_.push_back(std::move(room));
    }
}

CardSearch& Relocation::search_for(int pod, int replicas) {
    std::unique_ptr<CardSearch>& search = searches_for_[{pod, replicas}];
    if (search == nullptr) {
        std::vector<Demand> demands = demands_of(cluster_.pods[pod].request);
        adapt_to_replicas(demands, replicas);
        search = std::make_unique<CardSearch>(std::move(demands));
    }
    return *search;
}

bool Relocation::acceptable(int pod, int model) {
    const auto [at, added] = acceptable_.try_emplace({pod, model});
    if (added) {
        at->second = model_acceptable(cluster_.pods[pod].request.models, model_names_[model]);
    }
    return at->second;
}

// +1 takes the cards, CPU and memory, -1 gives them back.
void Relocation::take(const Held& held, int sign) {
    Room& room = rooms_[held.node];
    for (const CardUse& use : held.uses) {
        CardView& view = room.cards[use.card];
        view.free_percent -= sign * use.percent;
        view.free_memory_mib -= sign * use.memory_mib;
        view.empty = view.free_percent >= kCardUnits;
    }
    const HostAmounts& host = cluster_.pods[held.pod].request.host;
    if (room.host.cpu_milli != kHostUnlimited) room.host.cpu_milli -= sign * host.cpu_milli;
    if (room.host.memory_mib != kHostUnlimited) room.host.memory_mib -= sign * host.memory_mib;
}

// A cheap look before the planner's; `rank`: the lower, the less is broken up there.
bool Relocation::may_fit(
    const Room& room, int pod, int from, int node, const Rules& rules, int& rank
) const {
    const PodRequest& request = cluster_.pods[pod].request;
    if (!room.open || room.cards.empty()) return false;
    if (!enough(room.host.cpu_milli, request.host.cpu_milli)) return false;
    if (!enough(room.host.memory_mib, request.host.memory_mib)) return false;
    const bool may_open = rules.open_empty && node != rules.keep_empty;
    int least = kCardUnits + 1;  // of the used cards that could take the largest share
    const int wanted = largest_.at(pod);
    bool empty = false;
    for (const CardView& view : room.cards) {
        if (!view.usable || view.free_percent < wanted) continue;
        if (view.empty) {
            empty = true;
        } else {
            least = std::min(least, view.free_percent);
        }
    }
    if (least > kCardUnits && !(empty && may_open)) return false;
    // Where it is now last: that is no move off the node, though it may be enough.
    rank = least <= kCardUnits ? least - wanted : 2 * kCardUnits;
    if (node == from) rank += kCardUnits / 2;
    return true;
}

bool Relocation::fits_on(
    int node, int pod, const Rules& rules, CardChoice& choice, std::vector<CardUse>& uses
) {
    Room& room = rooms_[node];
    const bool may_open = rules.open_empty && node != rules.keep_empty;
    std::vector<CardView> views = room.cards;
    for (std::size_t card = 0; card < views.size(); ++card) {
        CardView& view = views[card];
        view.usable =
            view.healthy && acceptable(pod, room.models[card]) && (may_open || !view.empty);
        for (const CardSpot& spot : cleared_) {
            if (spot.node == node && spot.card == static_cast<int>(card)) view.usable = false;
        }
    }
    CardSearch& search = search_for(pod, room.replicas);
    int steps = kPlanSteps;
    ++searches_;
    if (search.plan(views, default_policy(), {}, steps, choice) != PlanStatus::kFits) return false;
    card_use(views, search.demands(), choice, uses);
    return true;
}

bool Relocation::place(std::size_t next, const Rules& rules, Result& result) {
    if (next == order_.size()) return true;
    const int pod = order_[next].pod;
    const int from = order_[next].node;
    std::vector<std::pair<int, int>> ranked;  // rank, node
    for (int node = 0; node < static_cast<int>(rooms_.size()); ++node) {
        int rank = 0;
        if (may_fit(rooms_[node], pod, from, node, rules, rank)) ranked.emplace_back(rank, node);
    }
    std::sort(ranked.begin(), ranked.end());
    int branches = rules.branches;
    for (const auto& [rank, node] : ranked) {
        if (branches == 0 || steps_-- <= 0) {
            gave_up_ = true;
            return false;
        }
        Held held{pod, node, {}};
        CardChoice choice;
        if (!fits_on(node, pod, rules, choice, held.uses)) continue;
        --branches;
        take(held, +1);
        placed_.push_back(held);
        moves_.push_back({pod, from, node, choice});
        if (place(next + 1, rules, result)) return true;
        moves_.pop_back();
        placed_.pop_back();
        take(held, -1);
    }
    if (next >= deepest_) {
        deepest_ = next;
        result.stuck = pod;
    }
    return false;
}

Relocation::Result Relocation::move(
    std::span<const std::pair<int, int>> pods, std::span<const CardSpot> cleared, const Rules& rules
) {
    Result result;
    order_.clear();
    placed_.clear();
    moves_.clear();
    cleared_.assign(cleared.begin(), cleared.end());
    for (const auto& [pod, node] : pods) {
        for (const HeldPod& held : uses_[node].pods) {
            if (held.pod == pod) order_.push_back({pod, node, held.uses});
        }
        int largest = 0;
        for (const ContainerRequest& container : cluster_.pods[pod].request.containers) {
            // A device of nvidia.com/gpu may be a share where cards are replicated.
            const bool replica = container.resource == kResourceWhole;
            largest = std::max(largest, replica ? 1 : container.percent);
        }
        largest_[pod] = largest;
    }
    std::stable_sort(order_.begin(), order_.end(), [&](const Held& a, const Held& b) {
        return difficulty(cluster_.pods[a.pod]) < difficulty(cluster_.pods[b.pod]);
    });
    for (const Held& held : order_) take(held, -1);
    steps_ = rules.steps;
    gave_up_ = false;
    deepest_ = 0;
    if (place(0, rules, result)) {
        result.outcome = Outcome::kMoved;
        for (const auto& [pod, node] : pods) {
            for (const PodMove& move : moves_) {
                if (move.pod == pod) result.moves.push_back(move);
            }
        }
        undo_from_ = order_;
        undo_to_ = placed_;
        return result;
    }
    for (const Held& held : order_) take(held, +1);
    result.outcome = gave_up_ ? Outcome::kGaveUp : Outcome::kNoPlace;
    return result;
}

void Relocation::undo() {
    for (const Held& held : undo_to_) take(held, -1);
    for (const Held& held : undo_from_) take(held, +1);
    undo_to_.clear();
    undo_from_.clear();
}

int Relocation::empty_cards(int node, std::span<const std::string> models) const {
    const Room& room = rooms_[node];
    int count = 0;
    for (std::size_t card = 0; card < room.cards.size(); ++card) {
        const bool good = room.cards[card].healthy && room.cards[card].empty;
        const std::vector<std::string> wanted(models.begin(), models.end());
        count += good && model_acceptable(wanted, model_names_[room.models[card]]) ? 1 : 0;
    }
    return count;
}

}  // namespace egpu::core
