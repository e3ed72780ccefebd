// Builds small clusters for tests of what looks at a whole one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/cluster.h"

namespace egpu::core {

class ClusterBuilder {
  public:
    // A node of like cards, 16,000 MiB each; CPU and memory unlimited unless given.
    ClusterNode& node(
        const std::string& name,
        int cards,
        const std::string& model = "Tesla T4",
        HostAmounts host = {kHostUnlimited, kHostUnlimited}
    ) {
        ClusterNode node;
        node.name = name;
        node.inventory.host = host;
        for (int i = 0; i < cards; ++i) {
            Card card;
            card.uuid = "GPU-" + name + "-" + std::to_string(i);
            card.index = i;
            card.model = model;
            card.memory_mib = 16000;
            node.inventory.cards.push_back(std::move(card));
        }
        cluster.nodes.push_back(std::move(node));
        return cluster.nodes.back();
    }

    // One container: a share on one card, or whole cards. No node: pending.
    ClusterPod& pod(
        const std::string& name,
        const std::string& node,
        int percent,
        std::vector<int> cards,
        HostAmounts host = {}
    ) {
        ClusterPod pod;
        pod.id = {"uid-" + name, "ns", name};
        pod.node = node;
        pod.phase = node.empty() ? "Pending" : "Running";
        pod.owner = "ReplicaSet";
        ContainerRequest container;
        container.name = "main";
        container.percent = percent;
        container.whole = percent == 100;
        container.cards = static_cast<int>(cards.size());
        pod.request.containers.push_back(container);
        pod.request.host = host;
        if (!node.empty()) {
            ContainerPlacement placed{"main", {}};
            for (const int card : cards) {
                placed.cards.push_back(
                    {"GPU-" + node + "-" + std::to_string(card), card, percent, 0}
                );
            }
            pod.placement = Placement{{placed}};
        }
        cluster.pods.push_back(std::move(pod));
        return cluster.pods.back();
    }

    Cluster cluster;
};

}  // namespace egpu::core
