#include "sim/picture.h"

#include <algorithm>

namespace egpu::sim {

namespace {

std::string short_key(const std::string& key) {
    return key.starts_with("default/") ? key.substr(8) : key;
}

void add_holders(const PodView& pod, NodeRow& node, const NodeView& hardware) {
    std::map<std::string, std::vector<core::CardShare>> placed;
    for (const auto& c : pod.placement->containers) placed[c.container] = c.cards;
    const CardPercents used = pod_use(pod.request, placed);
    for (std::size_t i = 0; i < hardware.cards.size(); ++i) {
        const std::string& uuid = hardware.cards[i].uuid;
        const auto found = used.find(uuid);
        if (found == used.end()) continue;
        node.cards[i].used_percent += found->second;
        for (const auto& c : pod.request.containers) {
            for (const auto& card : placed[c.name]) {
                if (card.uuid != uuid) continue;
                const std::string name = pod.request.containers.size() > 1 ? c.name : "";
                node.cards[i].holders.push_back({short_key(pod.key), name, c.percent});
            }
        }
    }
}

std::string given_text(
    const testing::ContainerStatus& c, const PodView& pod, const NodeView& node
) {
    if (c.state == testing::ContainerState::kWaiting) return c.reason + " " + c.message;
    const auto cards = visible_devices(c);
    if (cards.empty()) return "no GPU";
    std::string where;
    int percent = 0;
    for (const auto& asked : pod.request.containers) {
        if (asked.name == c.name && !asked.whole) percent = asked.percent;
    }
    for (const std::string& uuid : cards) {
        for (const core::Card& card : node.cards) {
            if (card.uuid == uuid)
                where += (where.empty() ? "" : ", ") + std::to_string(card.index);
        }
    }
    std::string out = percent > 0 ? std::to_string(percent) + " percent of card " + where
                                  : (cards.size() > 1 ? "cards " : "card ") + where;
    const auto value = c.given.envs.find("NVIDIA_VISIBLE_DEVICES");
    if (value != c.given.envs.end()) {
        // Broken after commas, so that long lists wrap.
        out += ", NVIDIA_VISIBLE_DEVICES=";
        for (const char letter : value->second) {
            out += letter;
            if (letter == ',') out += ' ';
        }
    }
    return out;
}

PodRow pod_row(const PodView& pod, const ClusterView& view) {
    PodRow row;
    row.name = short_key(pod.key);
    row.phase = pod.deleting ? "Terminating" : pod.phase;
    row.node = pod.node.empty() ? "-" : pod.node;
    if (pod.phase == "Pending" || pod.phase == "Failed") row.message = pod.message;
    if (pod.terminal()) return row;
    for (const NodeView& node : view.nodes) {
        for (const testing::PodStatus& status : node.pods) {
            if (status.uid != pod.uid) continue;
            for (const auto& c : status.containers) {
                row.containers.push_back({c.name, given_text(c, pod, node)});
            }
        }
    }
    return row;
}

}  // namespace

ClusterPicture picture_of(const ClusterView& view) {
    ClusterPicture out;
    for (const NodeView& hardware : view.nodes) {
        NodeRow node;
        node.name = hardware.name;
        for (const core::Card& card : hardware.cards) {
            const auto health = hardware.healthy.find(card.uuid);
            const bool healthy = health == hardware.healthy.end() || health->second;
            node.cards.push_back({card.index, card.model, card.memory_mib, 0, healthy, {}});
        }
        for (const PodView& pod : view.pods) {
            if (pod.node == hardware.name && pod.holds_cards() && pod.placement) {
                add_holders(pod, node, hardware);
            }
        }
        out.nodes.push_back(std::move(node));
    }
    int running = 0;
    int waiting = 0;
    for (const PodView& pod : view.pods) {
        running += pod.phase == "Running" ? 1 : 0;
        waiting += pod.phase == "Pending" ? 1 : 0;
        out.pods.push_back(pod_row(pod, view));
    }
    std::size_t cards = 0;
    for (const NodeView& node : view.nodes) cards += node.cards.size();
    out.title = "edge-gpu demo: " + std::to_string(view.nodes.size()) + " nodes, " +
                std::to_string(cards) + " cards; " + std::to_string(running) + " pods running, " +
                std::to_string(waiting) + " waiting";
    return out;
}

}  // namespace egpu::sim
