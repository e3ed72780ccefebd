// The demo's picture of the cluster as text: cards with who is on them, then pods with what their
// containers were given. Pure: data in, text out, so that it is testable without a terminal.
#pragma once

#include <string>
#include <vector>

namespace egpu::sim {

struct HolderRow {
    std::string pod;        // "namespace/name"; the default namespace is left out
    std::string container;  // "" for the only container of its pod
    int percent = 0;        // of this card

    bool operator==(const HolderRow&) const = default;
};

struct CardRow {
    int index = 0;
    std::string model;
    long memory_mib = 0;
    int used_percent = 0;
    bool healthy = true;
    std::vector<HolderRow> holders;

    bool operator==(const CardRow&) const = default;
};

struct NodeRow {
    std::string name;
    std::string note;  // "kubelet v1.34.9", or what is wrong with it
    std::vector<CardRow> cards;

    bool operator==(const NodeRow&) const = default;
};

struct ContainerRow {
    std::string name;
    std::string given;  // "NVIDIA_VISIBLE_DEVICES=GPU-… (20 percent of card 1)", or why it waits

    bool operator==(const ContainerRow&) const = default;
};

struct PodRow {
    std::string name;
    std::string phase;
    std::string node;
    std::string message;  // why it is pending or failed
    std::vector<ContainerRow> containers;

    bool operator==(const PodRow&) const = default;
};

struct ClusterPicture {
    std::string title;
    std::vector<NodeRow> nodes;
    std::vector<PodRow> pods;

    bool operator==(const ClusterPicture&) const = default;
};

struct TableStyle {
    bool color = false;  // ANSI colours and block characters; otherwise plain ASCII
    int width = 100;     // columns; long cells wrap (holders, messages); below 100 without MEMORY
};

std::string render_cards(const ClusterPicture& picture, const TableStyle& style);
std::string render_pods(const ClusterPicture& picture, const TableStyle& style);

// "[######....]" or block characters: ten cells for 100 percent; any use shows at least one cell.
std::string used_bar(int percent, const TableStyle& style);

// Breaks `text` at ", " and " ", and where that does not do after "=", into lines of at most
// `width` columns; a longer word stays whole.
std::vector<std::string> wrap(const std::string& text, int width);

}  // namespace egpu::sim
