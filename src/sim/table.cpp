#include "sim/table.h"

#include <algorithm>
#include <string_view>

namespace egpu::sim {

namespace {

constexpr int kBarCells = 10;
constexpr int kRoomForMemory = 100;  // columns; in narrower terminals the holders need them
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kPlain = "\x1b[0m";

std::string paint(std::string_view text, std::string_view color, const TableStyle& style) {
    if (!style.color || text.empty()) return std::string(text);
    std::string out(color);
    out += text;
    out += kPlain;
    return out;
}

std::string pad(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
}

std::string pad_left(const std::string& text, std::size_t width) {
    return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string holders_text(const CardRow& card) {
    std::string out;
    for (const HolderRow& holder : card.holders) {
        if (!out.empty()) out += ", ";
        out += holder.pod;
        if (!holder.container.empty()) out += "/" + holder.container;
        if (holder.percent < 100) out += " " + std::to_string(holder.percent);
    }
    return out;
}

std::string memory_text(long mib) {
    return mib <= 0 ? "" : std::to_string((mib + 512) / 1024) + " GiB";
}

struct Widths {
    std::size_t node = 4;
    std::size_t model = 4;
};

Widths measure(const ClusterPicture& picture) {
    Widths w;
    for (const NodeRow& node : picture.nodes) {
        w.node = std::max(w.node, node.name.size());
        if (node.cards.size() > 1) w.node = std::max(w.node, node.note.size());
        for (const CardRow& card : node.cards) w.model = std::max(w.model, card.model.size());
    }
    return w;
}

std::string_view phase_color(std::string_view phase) {
    if (phase == "Running" || phase == "Succeeded") return kGreen;
    return phase == "Failed" ? kRed : kYellow;
}

}  // namespace

std::string used_bar(int percent, const TableStyle& style) {
    const int full = percent <= 0 ? 0 : std::clamp((percent + 5) / 10, 1, kBarCells);
    std::string cells;
    for (int i = 0; i < kBarCells; ++i) {
        if (style.color) {
            cells += i < full ? "\u2588" : "\u2591";
        } else {
            cells += i < full ? '#' : '.';
        }
    }
    if (!style.color) return "[" + cells + "]";
    return paint(cells, percent > 100 ? kRed : percent == 100 ? kYellow : kGreen, style);
}

std::vector<std::string> wrap(const std::string& text, int width) {
    std::vector<std::string> lines;
    const auto limit = static_cast<std::size_t>(std::max(width, 8));
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.size() - at <= limit) {
            lines.push_back(text.substr(at));
            break;
        }
        std::size_t cut = text.rfind(", ", at + limit - 1);
        if (cut == std::string::npos || cut <= at) {
            cut = text.rfind(' ', at + limit);
        } else {
            ++cut;  // the comma stays on its line
        }
        if (cut == std::string::npos || cut <= at) {
            // NAME=value that is too long as a whole.
            cut = text.rfind('=', at + limit - 1);
            cut = cut == std::string::npos || cut <= at ? text.find(' ', at + limit) : cut + 1;
        }
        if (cut == std::string::npos) cut = text.size();
        lines.push_back(text.substr(at, cut - at));
        at = text.find_first_not_of(' ', cut);
        if (at == std::string::npos) break;
    }
    return lines;
}

std::string render_cards(const ClusterPicture& picture, const TableStyle& style) {
    const Widths w = measure(picture);
    std::string out;
    if (!picture.title.empty()) out += paint(picture.title, kBold, style) + "\n\n";
    const bool memory = style.width >= kRoomForMemory;
    const std::string head = pad("NODE", w.node) + "  CARD  " + pad("MODEL", w.model) +
                             (memory ? "  MEMORY  " : "  ") + pad("USED", style.color ? 10 : 12) +
                             "        HOLDERS (percent)";
    out += paint(head, kDim, style) + "\n";
    const std::size_t before_holders =
        w.node + 2 + 4 + 2 + w.model + 2 + (memory ? 6 + 2 : 0) + (style.color ? 10 : 12) + 8;
    const int room = std::max(20, style.width - static_cast<int>(before_holders));
    for (const NodeRow& node : picture.nodes) {
        for (std::size_t i = 0; i < node.cards.size() || i < 1; ++i) {
            const bool first = i == 0;
            const std::string label = pad(first ? node.name : i == 1 ? node.note : "", w.node);
            out += first ? paint(label, kBold, style) : paint(label, kDim, style);
            if (node.cards.empty()) {
                out += "  (no cards: " + node.note + ")\n";
                break;
            }
            const CardRow& card = node.cards[i];
            out += "  " + pad_left(std::to_string(card.index), 4) + "  " + pad(card.model, w.model);
            if (memory) out += "  " + pad_left(memory_text(card.memory_mib), 6);
            out += "  ";
            out += used_bar(card.used_percent, style);
            out += " " + pad_left(std::to_string(card.used_percent), 3) + "    ";
            std::string who = holders_text(card);
            if (!card.healthy) who = "UNHEALTHY" + (who.empty() ? who : ", " + who);
            bool wrapped = false;
            for (const std::string& line : wrap(who, room)) {
                if (wrapped) out += "\n" + std::string(before_holders, ' ');
                out += paint(line, card.healthy ? "" : kRed, style);
                wrapped = true;
            }
            while (!out.empty() && out.back() == ' ') out.pop_back();
            out += "\n";
        }
    }
    return out;
}

std::string render_pods(const ClusterPicture& picture, const TableStyle& style) {
    std::size_t name = 3;
    std::size_t node = 4;
    for (const PodRow& pod : picture.pods) {
        name = std::max(name, pod.name.size());
        node = std::max(node, pod.node.size());
    }
    std::string out =
        paint(
            pad("POD", name) + "  " + pad("PHASE", 9) + "  " + pad("NODE", node) + "  GIVEN",
            kDim,
            style
        ) +
        "\n";
    const std::size_t indent = name + 2 + 9 + 2 + node + 2;
    const int room = std::max(40, style.width - static_cast<int>(indent));
    for (const PodRow& pod : picture.pods) {
        out += pad(pod.name, name) + "  " + paint(pad(pod.phase, 9), phase_color(pod.phase), style);
        out += "  " + pad(pod.node, node) + "  ";
        std::vector<std::string> lines;
        if (!pod.message.empty()) lines = wrap(pod.message, room);
        for (const ContainerRow& container : pod.containers) {
            for (std::string& line : wrap(container.name + ": " + container.given, room)) {
                lines.push_back(std::move(line));
            }
        }
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (i > 0) out += "\n" + std::string(indent, ' ');
            out += lines[i];
        }
        while (!out.empty() && out.back() == ' ') out.pop_back();
        out += "\n";
    }
    return out;
}

}  // namespace egpu::sim
