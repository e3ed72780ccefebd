#include "simulate/from_snapshot.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "core/model.h"

namespace egpu::simulate {
namespace {

std::int32_t clamped(std::int64_t amount) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(amount, 0, core::kUnlimited - 1));
}

std::int32_t of_node(std::int64_t amount) {
    return amount == core::kHostUnlimited ? core::kUnlimited : clamped(amount);
}

// "2026-11-26T10:00:00Z" in seconds since 1970.
std::optional<std::int64_t> seconds_of(const std::string& time) {
    int y = 0, mon = 0, d = 0, h = 0, min = 0, s = 0;
    char z = 0;
    if (std::sscanf(time.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%c", &y, &mon, &d, &h, &min, &s, &z) !=
            7 ||
        z != 'Z') {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{
        std::chrono::year(y),
        std::chrono::month(static_cast<unsigned>(mon)),
        std::chrono::day(static_cast<unsigned>(d))};
    if (!date.ok() || h > 23 || min > 59 || s > 60 || h < 0 || min < 0 || s < 0)
        return std::nullopt;
    const std::chrono::sys_days days(date);
    const std::int64_t out = std::int64_t{days.time_since_epoch().count()} * 86'400 +
                             std::int64_t{h} * 3600 + std::int64_t{min} * 60 + s;
    return out < 0 ? std::nullopt : std::optional(out);
}

std::string counted(std::size_t n, const char* word) {
    return std::to_string(n) + " " + word + (n == 1 ? "" : "s");
}

// The most frequent model of the healthy cards, and how many have it.
std::pair<std::string, int> main_model(const core::ClusterNode& node) {
    std::map<std::string, int> counts;
    for (const core::Card& card : node.inventory.cards) {
        if (card.healthy) ++counts[card.model];
    }
    std::pair<std::string, int> best{"", 0};
    for (const auto& [model, count] : counts) {
        if (count > best.second) best = {model, count};
    }
    // Where no agent of ours publishes cards: what is allocatable.
    if (node.inventory.cards.empty()) {
        const std::int64_t units =
            std::max(node.inventory.percent_units / core::kCardUnits, node.inventory.whole_units);
        best.second = static_cast<int>(std::min<std::int64_t>(units, 1024));
    }
    return best;
}

std::uint64_t allowed(const std::vector<std::string>& models, const Cluster& cluster) {
    std::uint64_t mask = 0;
    if (models.empty()) return mask;
    for (std::size_t id = 0; id < cluster.models.size(); ++id) {
        if (core::model_acceptable(models, cluster.models[id])) mask |= std::uint64_t{1} << id;
    }
    return mask != 0 ? mask : std::uint64_t{1} << kNoSuchModel;
}

core::Shape shape_of(const core::PodRequest& request, const Cluster& cluster) {
    core::Shape shape;
    shape.cpu_milli = clamped(request.host.cpu_milli);
    shape.memory_mib = clamped(request.host.memory_mib);
    int whole = 0;
    int init_whole = 0;
    int shares = 0;
    int sum = 0;
    int largest = 0;
    for (const core::ContainerRequest& container : request.containers) {
        const bool init = container.kind == core::ContainerKind::kInit;
        if (container.whole) {
            int& cards = init ? init_whole : whole;
            cards = init ? std::max(cards, container.cards) : cards + container.cards;
            continue;
        }
        largest = std::max(largest, container.percent);
        if (init) continue;
        sum += container.percent;
        ++shares;
    }
    whole = std::max(whole, init_whole);
    if (whole > 0) {
        shape.cards = static_cast<std::uint8_t>(std::min(whole, 255));
        shape.percent = core::kCardUnits;
    } else if (largest > 0) {
        const bool one = sum <= core::kCardUnits;
        shape.cards = static_cast<std::uint8_t>(one ? 1 : std::min(shares, 255));
        shape.percent = static_cast<std::uint8_t>(one ? std::max(sum, largest) : largest);
    }
    if (shape.cards > 0) shape.models = allowed(request.models, cluster);
    return shape;
}

}  // namespace

bool looks_like_snapshot(std::string_view text) {
    const std::size_t at = text.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && text[at] == '{';
}

Result<Cluster> cluster_of(
    const std::string& file, const k8s::ClusterSnapshot& snapshot, std::vector<std::string>& notes
) {
    Cluster out;
    out.models.emplace_back();
    std::size_t closed = 0;
    std::size_t unhealthy = 0;
    std::size_t other = 0;
    for (const core::ClusterNode& node : snapshot.cluster.nodes) {
        if (!node.open()) {
            ++closed;
            continue;
        }
        const auto [model, cards] = main_model(node);
        if (cards > core::kRoomCards) {
            return Error{
                ErrorCode::kInvalid,
                file + ": node " + node.name + " has " + std::to_string(cards) +
                    " cards; at most " + std::to_string(core::kRoomCards) + " can be simulated"};
        }
        for (const core::Card& card : node.inventory.cards) {
            if (!card.healthy) {
                ++unhealthy;
            } else if (card.model != model) {
                ++other;
            }
        }
        TraceNode to;
        to.name = node.name;
        to.room.cpu_milli = of_node(node.inventory.host.cpu_milli);
        to.room.memory_mib = of_node(node.inventory.host.memory_mib);
        to.room.cards = static_cast<std::uint8_t>(cards);
        for (int card = 0; card < cards; ++card) to.room.free[card] = core::kCardUnits;
        auto known = std::find(out.models.begin(), out.models.end(), model);
        if (known == out.models.end()) {
            if (out.models.size() >= static_cast<std::size_t>(kNoSuchModel)) {
                return Error{
                    ErrorCode::kInvalid, file + ": more than 62 different models of cards"};
            }
            known = out.models.insert(known, model);
        }
        to.room.model = static_cast<core::ModelId>(known - out.models.begin());
        out.nodes.push_back(std::move(to));
    }
    if (closed > 0)
        notes.push_back(file + ": left out " + counted(closed, "node") + " that take no pods");
    if (unhealthy > 0) notes.push_back(file + ": left out " + counted(unhealthy, "unhealthy card"));
    if (other > 0) {
        notes.push_back(
            file + ": left out " + counted(other, "card") + " of a second model on a node"
        );
    }
    if (out.cards() == 0) {
        return Error{ErrorCode::kInvalid, file + ": no node that takes pods has a healthy card"};
    }
    std::sort(out.nodes.begin(), out.nodes.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    return out;
}

Result<Workload> workload_of(
    const std::string& file,
    const k8s::ClusterSnapshot& snapshot,
    const Cluster& cluster,
    std::vector<std::string>& notes
) {
    Workload out;
    out.name = workload_name(file);
    std::size_t too_many = 0;
    bool any_cards = false;
    for (const core::ClusterPod& pod : snapshot.cluster.pods) {
        TracePod to;
        to.name = pod.id.ns + "/" + pod.id.name + " " + pod.id.uid;
        to.shape = shape_of(pod.request, cluster);
        if (to.shape.cards > core::kRoomCards) {
            ++too_many;
            continue;
        }
        to.created = seconds_of(pod.created);
        any_cards = any_cards || to.shape.cards > 0;
        out.pods.push_back(std::move(to));
    }
    if (too_many > 0) {
        notes.push_back(
            file + ": left out " + counted(too_many, "pod") + " with more than 16 cards"
        );
    }
    if (!any_cards) return Error{ErrorCode::kInvalid, file + ": no pod asks for a card"};
    std::sort(out.pods.begin(), out.pods.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    return out;
}

}  // namespace egpu::simulate
