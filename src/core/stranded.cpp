#include "core/stranded.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/card_use.h"
#include "core/model.h"

namespace egpu::core {
namespace {

// What matters of a pod here.
struct Kind {
    int whole = 0;         // free cards it needs
    int share = 0;         // its largest share, percent
    std::int64_t cap = 0;  // the largest memory cap of a card
    int nvidia = 0;        // cards through nvidia.com/gpu, among `whole`
    HostAmounts host;
    std::vector<std::string> models;

    auto key() const {
        return std::tie(whole, share, cap, nvidia, host.cpu_milli, host.memory_mib, models);
    }
    bool operator<(const Kind& other) const { return key() < other.key(); }
};

Kind kind_of(const PodRequest& request) {
    Kind kind;
    kind.host = request.host;
    kind.models = request.models;
    int init_whole = 0;
    for (const ContainerRequest& container : request.containers) {
        kind.cap = std::max(kind.cap, container.memory_mib);
        if (!container.whole) {
            kind.share = std::max(kind.share, container.percent);
        } else if (container.kind == ContainerKind::kInit) {
            init_whole = std::max(init_whole, container.cards);
        } else {
            kind.whole += container.cards;
            if (container.resource == kResourceWhole) kind.nvidia += container.cards;
        }
    }
    kind.whole = std::max(kind.whole, init_whole);
    return kind;
}

// On a node that offers each card `replicas` times as nvidia.com/gpu.
Kind on_replicas(Kind kind, int replicas) {
    if (replicas <= 1 || kind.nvidia == 0) return kind;
    kind.whole -= kind.nvidia;
    kind.share = std::max(kind.share, kCardUnits / replicas);
    kind.nvidia = 0;
    return kind;
}

bool short_of(std::int64_t free, std::int64_t wanted) {
    return free != kHostUnlimited && free < wanted;
}

class Census {
  public:
    explicit Census(const Cluster& cluster) : cluster_(cluster) {
        std::map<Kind, int> counted;
        for (const ClusterPod& pod : cluster.pods) {
            if (pod.request.empty()) continue;
            ++counted[kind_of(pod.request)];
            ++pods_;
        }
        for (auto& [kind, count] : counted) kinds_.emplace_back(kind, count);
    }

    int pods() const { return pods_; }
    int kinds() const { return static_cast<int>(kinds_.size()); }

    // Adds the cards of one node to their models' totals.
    void count(const NodeUse& use, std::map<std::string, CardTotals>& models) {
        const ClusterNode& node = cluster_.nodes[use.node];
        std::vector<CardTotals> cards(use.cards.size());
        for (std::size_t i = 0; i < use.cards.size(); ++i) {
            cards[i].cards = 1;
            cards[i].used = std::clamp(use.cards[i].used_percent, 0, kCardUnits) / 100.0;
            cards[i].free = 1 - cards[i].used;
        }
        if (!node.open() || pods_ == 0) {
            for (std::size_t i = 0; i < cards.size(); ++i) {
                const bool healthy = use.cards[i].card.healthy;
                part(
                    cards[i],
                    node.open() ? healthy ? std::nullopt : cause(Stranding::kUnhealthy)
                                : cause(Stranding::kNodeClosed),
                    1
                );
            }
        } else {
            for (const auto& [kind, count] : kinds_) {
                const double weight = static_cast<double>(count) / pods_;
                count_kind(use, on_replicas(kind, replicas_of(use)), weight, cards);
            }
        }
        for (std::size_t i = 0; i < cards.size(); ++i) {
            models[use.cards[i].card.model].add(cards[i]);
        }
    }

  private:
    using Cause = std::optional<Stranding>;
    static Cause cause(Stranding why) { return why; }
    static int replicas_of(const NodeUse& use) {
        return use.cards.empty() ? 1 : use.cards.front().card.replicas;
    }

    static void part(CardTotals& card, Cause why, double weight) {
        if (why) {
            card.stranded[static_cast<std::size_t>(*why)] += weight * card.free;
        } else {
            card.usable += weight * card.free;
        }
    }

    bool wanted(const Kind& kind, const std::string& model) {
        if (kind.models.empty()) return true;
        const auto [at, added] = acceptable_.try_emplace({kind.models, model});
        if (added) at->second = model_acceptable(kind.models, model);
        return at->second;
    }

    void count_kind(
        const NodeUse& use, const Kind& kind, double weight, std::vector<CardTotals>& cards
    ) {
        int empty = 0;
        for (const CardState& state : use.cards) {
            const bool good = state.card.healthy && wanted(kind, state.card.model);
            empty += good && state.used_percent <= 0 ? 1 : 0;
        }
        for (std::size_t i = 0; i < cards.size(); ++i) {
            part(cards[i], why_not(use, kind, use.cards[i], empty), weight);
        }
    }

    Cause why_not(const NodeUse& use, const Kind& kind, const CardState& state, int empty) {
        if (!state.card.healthy) return Stranding::kUnhealthy;
        if (!wanted(kind, state.card.model)) return Stranding::kModel;
        if (short_of(use.host_free.cpu_milli, kind.host.cpu_milli)) return Stranding::kNoCpu;
        if (short_of(use.host_free.memory_mib, kind.host.memory_mib)) return Stranding::kNoMemory;
        const bool shared = state.used_percent > 0;
        const int free = kCardUnits - state.used_percent;
        const std::int64_t size = state.card.memory_mib;
        if (size > 0 && kind.cap > size - state.used_memory_mib) return Stranding::kFragment;
        if (kind.share > 0 && free >= kind.share) return std::nullopt;
        if (kind.whole == 0) return Stranding::kFragment;
        if (shared) return kind.nvidia > 0 ? Stranding::kOtherResource : Stranding::kFragment;
        if (empty < kind.whole) return Stranding::kTooFewCards;
        return std::nullopt;
    }

    const Cluster& cluster_;
    std::vector<std::pair<Kind, int>> kinds_;
    int pods_ = 0;
    std::map<std::pair<std::vector<std::string>, std::string>, bool> acceptable_;
};

}  // namespace

std::string_view stranding_name(Stranding cause) {
    constexpr std::string_view kNames[kStrandings] = {
        "node-closed",
        "unhealthy",
        "model",
        "no-cpu",
        "no-memory",
        "other-resource",
        "fragment",
        "too-few-cards"};
    return kNames[static_cast<int>(cause)];
}

std::string_view stranding_text(Stranding cause) {
    constexpr std::string_view kTexts[kStrandings] = {
        "node not ready or cordoned",
        "card unhealthy",
        "model that is not asked for",
        "no CPU left on the node",
        "no memory left on the node",
        "shares on the card, nvidia.com/gpu asked for",
        "free part too small",
        "too few free cards on the node"};
    return kTexts[static_cast<int>(cause)];
}

void CardTotals::add(const CardTotals& other) {
    cards += other.cards;
    used += other.used;
    free += other.free;
    usable += other.usable;
    for (int i = 0; i < kStrandings; ++i) stranded[i] += other.stranded[i];
}

StrandedReport find_stranded(const Cluster& cluster, std::span<const NodeUse> uses) {
    StrandedReport report;
    Census census(cluster);
    report.pods_seen = census.pods();
    report.kinds_seen = census.kinds();
    std::map<std::string, CardTotals> models;
    for (const NodeUse& use : uses) {
        if (use.cards.empty()) continue;
        std::map<std::string, CardTotals> here;
        census.count(use, here);
        NodeTotals node{use.node, {}};
        for (const auto& [model, totals] : here) {
            models[model].add(totals);
            node.totals.add(totals);
        }
        report.all.add(node.totals);
        report.nodes.push_back(node);
    }
    for (auto& [model, totals] : models) report.models.push_back({model, totals});
    return report;
}

}  // namespace egpu::core
