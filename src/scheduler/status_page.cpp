#include "scheduler/status_page.h"

#include <algorithm>

#include "base/json.h"

namespace egpu::scheduler {
namespace {

void field(std::string& out, std::string_view key, std::string_view text) {
    out += ",\"";
    out += key;
    out += "\":";
    json::append_quoted(out, text);
}

void field(std::string& out, std::string_view key, std::int64_t number) {
    out += ",\"";
    out += key;
    out += "\":" + std::to_string(number);
}

void field(std::string& out, std::string_view key, bool flag) {
    out += ",\"";
    out += key;
    out += flag ? "\":true" : "\":false";
}

void append_card(std::string& out, const core::CardInfo& info) {
    out += "{\"Percent\":" + std::to_string(std::max(0, core::kCardUnits - info.used_percent));
    field(out, "PercentTotal", std::int64_t{core::kCardUnits});
    field(out, "Index", std::int64_t{info.card.index});
    field(out, "UUID", info.card.uuid);
    field(out, "Model", info.card.model);
    field(out, "MemoryMiB", info.card.memory_mib);
    field(out, "UsedMemoryMiB", info.used_memory_mib);
    field(out, "Healthy", info.card.healthy);
    field(out, "Whole", info.whole);
    out += ",\"Holders\":[";
    bool first = true;
    for (const core::HolderInfo& holder : info.holders) {
        out += first ? "{\"Namespace\":" : ",{\"Namespace\":";
        first = false;
        json::append_quoted(out, holder.ns);
        field(out, "Pod", holder.pod);
        field(out, "UID", holder.uid);
        field(out, "Container", holder.container);
        field(out, "Percent", std::int64_t{holder.percent});
        field(out, "Reserved", holder.reserved);
        field(out, "Guessed", holder.guessed);
        out += '}';
    }
    out += "]}";
}

void append_node(std::string& out, const core::NodeInfo& node) {
    json::append_quoted(out, node.name);
    out += ":{\"Rater\":{}";
    field(out, "Name", node.name);
    out += ",\"GPUs\":[";
    for (std::size_t i = 0; i < node.cards.size(); ++i) {
        if (i > 0) out += ',';
        append_card(out, node.cards[i]);
    }
    out += "],\"PlanCache\":{}";
    field(out, "Known", node.known);
    field(out, "Synthetic", node.synthetic);
    out += ",\"Unplaced\":[";
    bool first = true;
    for (const core::UnplacedPod& pod : node.unplaced) {
        out += first ? "{\"Namespace\":" : ",{\"Namespace\":";
        first = false;
        json::append_quoted(out, pod.ns);
        field(out, "Pod", pod.pod);
        field(out, "UID", pod.uid);
        field(out, "Reason", pod.reason);
        field(out, "MissingPercent", std::int64_t{pod.missing_percent});
        out += '}';
    }
    out += "]}";
}

}  // namespace

std::string status_page(const State& state) {
    std::string out = "{";
    for (const std::string& name : state.node_names()) {
        const auto node = state.node(name);
        if (!node) continue;
        if (out.size() > 1) out += ',';
        append_node(out, *node);
    }
    out += "}\n";
    return out;
}

}  // namespace egpu::scheduler
