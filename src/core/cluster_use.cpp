#include "core/cluster_use.h"

#include <unordered_map>

namespace egpu::core {

std::vector<NodeUse> cluster_use(const Cluster& cluster) {
    Ledger ledger;
    std::unordered_map<std::string_view, int> positions;
    for (int i = 0; i < static_cast<int>(cluster.nodes.size()); ++i) {
        if (!positions.emplace(cluster.nodes[i].name, i).second) continue;
        ledger.upsert_node(cluster.nodes[i].name, cluster.nodes[i].inventory);
    }
    for (const ClusterPod& pod : cluster.pods) {
        ledger.upsert_pod({pod.id, pod.node, pod.request, pod.placement});
    }
    std::vector<NodeUse> uses;
    for (int i = 0; i < static_cast<int>(cluster.nodes.size()); ++i) {
        const std::string& name = cluster.nodes[i].name;
        if (positions.at(name) != i) continue;
        NodeUse use;
        use.node = i;
        std::optional<NodeInfo> known = ledger.node(name);
        for (CardInfo& info : known->cards) {
            use.cards.push_back({std::move(info.card), info.used_percent, info.used_memory_mib});
        }
        use.host_free = ledger.host_free(*ledger.find_node(name));
        positions[name] = static_cast<int>(uses.size());
        uses.push_back(std::move(use));
    }
    for (int i = 0; i < static_cast<int>(cluster.pods.size()); ++i) {
        const ClusterPod& pod = cluster.pods[i];
        const auto at = positions.find(pod.node);
        if (pod.request.empty() || at == positions.end()) continue;
        NodeUse& node = uses[at->second];
        HeldPod held{i, {}};
        std::vector<Card> cards;
        for (const CardState& state : node.cards) cards.push_back(state.card);
        const auto info = ledger.pod(pod.id.uid);
        if (info) {
            const auto states = use_of(cards, pod.request, info->placement);
            for (int card = 0; states && card < static_cast<int>(states->size()); ++card) {
                const CardState& state = (*states)[card];
                if (state.used_percent == 0) continue;
                held.uses.push_back(
                    {card,
                     state.used_percent,
                     state.used_memory_mib,
                     state.used_percent >= kCardUnits}
                );
            }
        }
        node.pods.push_back(std::move(held));
    }
    return uses;
}

}  // namespace egpu::core
