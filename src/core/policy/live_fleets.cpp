#include "core/policy/live_fleets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/card.h"
#include "core/card_use.h"
#include "core/model.h"

namespace egpu::core {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kColdNodes = 32;      // of a shape that is asked for the first time
constexpr std::size_t kPlannedNodes = 256;  // of a pod whose cards are planned node by node
constexpr int kSteps = 64;                  // CPU and memory of a node
constexpr ModelId kOtherModels = kMaxModels - 2;
constexpr ModelId kNoModel = kMaxModels - 1;  // what no card has
constexpr double kMostRelearned = 4096;

// Rounded down to a whole step; kHostUnlimited stays unlimited.
std::int32_t in_steps(std::int64_t left, std::int64_t all, std::int64_t least_step) {
    if (all == kHostUnlimited) return kUnlimited;
    const std::int64_t step = std::max(least_step, all / kSteps);
    const std::int64_t whole = std::max<std::int64_t>(left, 0) / step * step;
    return static_cast<std::int32_t>(std::min<std::int64_t>(whole, kUnlimited - 1));
}

std::int32_t narrow(std::int64_t amount) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(amount, 0, kUnlimited - 1));
}

}  // namespace

struct LiveFleets::Live {
    Live(const Scorer& s, const FleetOptions& options) : scorer(&s), fleet(s, options) {}

    const Scorer* scorer;
    Fleet fleet;
    std::vector<std::uint64_t> versions;  // of the ledger's nodes, as the fleet has them
    bool ready = false;                   // has an Outlook, or needs none
    bool refreshing = false;
    // Shapes whose scores are known for all nodes, or next to be asked for: up to which node.
    std::unordered_map<Shape, std::size_t, ShapeHash> warm;
    std::deque<Shape> cold;
    // scratch
    std::vector<FleetNode> ids;
    std::vector<std::size_t> positions;
    std::vector<double> values;
};

LiveFleets::LiveFleets(LiveOptions options)
    : options_(options), models_(1), demand_(options.half_life, options.max_shapes) {}

LiveFleets::~LiveFleets() = default;

const Scorer* LiveFleets::scorer_of(std::string_view policy) {
    return find_policy(policy) == nullptr ? find_scorer(policy) : nullptr;
}

ModelId LiveFleets::model_number(std::string_view model) {
    const auto known = std::find(models_.begin(), models_.end(), model);
    if (known != models_.end()) return static_cast<ModelId>(known - models_.begin());
    if (models_.size() >= kOtherModels) return kOtherModels;
    models_.emplace_back(model);
    return static_cast<ModelId>(models_.size() - 1);
}

std::optional<Room> LiveFleets::room_of(const Ledger& ledger, NodeId node) {
    auto room = ledger.room(node);
    if (!room) return std::nullopt;
    room->model = model_number(ledger.card_model(node));
    const HostAmounts all = ledger.host(node);
    const HostAmounts left = ledger.host_free(node);
    room->cpu_milli = in_steps(left.cpu_milli, all.cpu_milli, 1000);
    room->memory_mib = in_steps(left.memory_mib, all.memory_mib, 1024);
    return room;
}

Shape LiveFleets::shape_of(const PodRequest& request) {
    Shape shape;
    shape.cpu_milli = narrow(request.host.cpu_milli);
    shape.memory_mib = narrow(request.host.memory_mib);
    const int units = total_units(demands_of(request));
    if (units > kCardUnits) {
        shape.cards = static_cast<std::uint8_t>(std::min(255, (units + 99) / kCardUnits));
        shape.percent = kCardUnits;
    } else if (units > 0) {
        shape.cards = 1;
        shape.percent = static_cast<std::uint8_t>(units);
    }
    if (request.models.empty()) return shape;
    for (std::size_t i = 1; i < models_.size(); ++i) {
        if (model_acceptable(request.models, models_[i])) shape.models |= std::uint64_t{1} << i;
    }
    if (shape.models == 0) shape.models = std::uint64_t{1} << kNoModel;
    return shape;
}

LiveFleets::Live& LiveFleets::live(const Scorer& scorer) {
    for (const auto& each : live_) {
        if (each->scorer == &scorer) return *each;
    }
    FleetOptions options;
    options.half_life = options_.half_life;
    options.seed = options_.seed;
    options.max_values = options_.max_values;
    options.max_shapes = options_.max_shapes;
    live_.push_back(std::make_unique<Live>(scorer, options));
    Live& added = *live_.back();
    added.ready = scorer.potential == Potential::kNone;
    const double times = std::min(static_cast<double>(totals_.arrivals), kMostRelearned);
    for (const ShapeWeight& each : demand_.weights()) {
        const auto count = std::max(1L, std::lround(each.weight * times));
        for (long i = 0; i < count; ++i) added.fleet.arrived(each.shape);
    }
    return added;
}

void LiveFleets::follow(const Ledger& ledger, Live& live) {
    live.versions.resize(ledger.node_slots());
    for (NodeId node = 0; node < live.versions.size(); ++node) {
        const std::uint64_t now = ledger.version(node);
        if (live.versions[node] == now) continue;
        live.versions[node] = now;
        if (const auto room = room_of(ledger, node)) {
            live.fleet.set_room(node, *room);
        } else {
            live.fleet.remove_node(node);
        }
    }
}

void LiveFleets::arrived(const PodRequest& request, const Scorer* scorer) {
    if (request.empty()) return;
    if (scorer != nullptr) live(*scorer);
    const Shape shape = shape_of(request);
    ++totals_.arrivals;
    demand_.arrived(shape);
    for (const auto& each : live_) each->fleet.arrived(shape);
}

void LiveFleets::scores(
    const Ledger& ledger,
    const Scorer& scorer,
    Query& query,
    std::span<const std::optional<NodeId>> nodes,
    std::span<int> out
) {
    Live& live = this->live(scorer);
    follow(ledger, live);
    // What binpack says: whether the pod fits at all, where to look first, and the answer when
    // there is no other.
    const auto by_binpack = [&] {
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            out[i] = nodes[i] ? ledger.score(*nodes[i], query) : 0;
        }
    };
    if (!live.ready) return by_binpack();
    const Shape shape = shape_of(query.request());
    const bool one_container = Ledger::asks_for_one(query);
    const auto warm = live.warm.find(shape);
    const bool cold = one_container && scorer.potential != Potential::kNone &&
                      (warm == live.warm.end() || warm->second < ledger.node_slots());
    live.ids.clear();
    live.positions.clear();
    std::vector<std::size_t> planned;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (!nodes[i] || live.fleet.room(*nodes[i]) == nullptr) continue;
        if (!one_container || !ledger.room_tells_all(*nodes[i], query)) {
            planned.push_back(i);
            continue;
        }
        live.ids.push_back(*nodes[i]);
        live.positions.push_back(i);
    }
    if (cold || planned.size() > kPlannedNodes) by_binpack();
    const auto likes = [&](std::size_t a, std::size_t b) { return out[a] > out[b]; };
    if (cold) {
        ++totals_.cold_questions;
        if (warm == live.warm.end()) {
            if (live.warm.size() >= options_.max_shapes) {
                live.warm.clear();
                live.cold.clear();
            }
            live.warm.emplace(shape, 0);
            live.cold.push_back(shape);
        }
        if (live.positions.size() > kColdNodes) {
            const auto end = live.positions.begin() + kColdNodes;
            std::partial_sort(live.positions.begin(), end, live.positions.end(), likes);
            live.positions.erase(end, live.positions.end());
            live.ids.clear();
            for (const std::size_t i : live.positions) live.ids.push_back(*nodes[i]);
        }
    }
    if (planned.size() > kPlannedNodes) {
        const auto end = planned.begin() + kPlannedNodes;
        std::partial_sort(planned.begin(), end, planned.end(), likes);
        planned.erase(end, planned.end());
    }
    live.values.assign(live.ids.size() + planned.size(), kNone);
    live.fleet.scores(live.ids, shape, live.values, query.pod_key());
    for (const std::size_t i : planned) {
        const NodeId node = *nodes[i];
        const auto after = ledger.room_after(node, query, *live.fleet.room(node));
        if (after) {
            live.values[live.positions.size()] =
                live.fleet.score(node, *after, shape, query.pod_key());
        }
        live.positions.push_back(i);
    }
    // From scores to 0..10.
    double best = kNone;
    double worst = kNone;
    for (std::size_t n = 0; n < live.positions.size(); ++n) {
        const double value = live.values[n];
        if (std::isnan(value)) continue;
        if (!(value <= best)) best = value;
        if (!(value >= worst)) worst = value;
    }
    if (std::isnan(best)) return by_binpack();  // no node of which the policy knows anything
    std::fill(out.begin(), out.end(), 0);
    // Only rooms that are equal have equal expected fill. Other scores are coarse, and what makes
    // equal ones consolidate is that the same node comes first each time.
    const bool all_winners = scorer.potential == Potential::kExpectedFill;
    std::optional<std::size_t> winner;
    const double range = best - worst;
    for (std::size_t n = 0; n < live.positions.size(); ++n) {
        const double value = live.values[n];
        if (std::isnan(value)) continue;
        const std::size_t i = live.positions[n];
        const double part = range > 0 ? (value - worst) / range : 1;
        out[i] = std::min(kMaxScore - 1, 1 + static_cast<int>(part * (kMaxScore - 1)));
        if (value < best) continue;
        if (all_winners) out[i] = kMaxScore;
        if (!winner || *nodes[i] < *nodes[*winner]) winner = i;
    }
    if (winner) out[*winner] = kMaxScore;
}

std::optional<int> LiveFleets::card_for(
    const Ledger& ledger, const Scorer& scorer, Query& query, NodeId node
) {
    if (scorer.cards != CardRule::kByScore) return std::nullopt;
    Live& live = this->live(scorer);
    if (!live.ready || !Ledger::asks_for_one(query) || !ledger.room_tells_all(node, query)) {
        return std::nullopt;
    }
    follow(ledger, live);
    const Choice choice = live.fleet.choose(node, shape_of(query.request()), query.pod_key());
    if (!choice.fits || choice.card < 0) return std::nullopt;
    return ledger.card_index(node, choice.card);
}

// --- between the questions ---

std::optional<LiveRefresh> LiveFleets::begin_refresh(const Ledger& ledger) {
    for (const auto& each : live_) {
        if (each->refreshing || !each->fleet.refresh_due()) continue;
        follow(ledger, *each);
        each->refreshing = true;
        return LiveRefresh{std::string(each->scorer->name), each->fleet.prepare(true)};
    }
    return std::nullopt;
}

void LiveFleets::end_refresh(LiveRefresh&& refresh) {
    for (const auto& each : live_) {
        if (each->scorer->name != refresh.policy) continue;
        each->fleet.install(std::move(*refresh.refresh));
        each->refreshing = false;
        each->ready = true;
        ++totals_.refreshes;
    }
}

bool LiveFleets::warm_up(const Ledger& ledger, std::size_t nodes) {
    for (const auto& each : live_) {
        Live& live = *each;
        if (!live.ready || live.cold.empty()) continue;
        follow(ledger, live);
        const Shape shape = live.cold.front();
        std::size_t& next = live.warm[shape];
        const std::size_t end = std::min(next + nodes, ledger.node_slots());
        live.ids.clear();
        for (; next < end; ++next) live.ids.push_back(static_cast<FleetNode>(next));
        live.values.assign(live.ids.size(), kNone);
        live.fleet.scores(live.ids, shape, live.values);
        if (next >= ledger.node_slots()) {
            next = std::numeric_limits<std::size_t>::max();  // nodes that come later are few
            live.cold.pop_front();
        }
        return true;
    }
    return false;
}

LiveTotals LiveFleets::totals() const {
    LiveTotals out = totals_;
    out.shapes = demand_.shapes();
    return out;
}

}  // namespace egpu::core
