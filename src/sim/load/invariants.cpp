#include "sim/load/invariants.h"

#include <charconv>
#include <map>
#include <set>

namespace egpu::sim::load {

namespace {

struct Held {
    int percent = 0;
    std::set<std::string> pods;  // UIDs
};
using ByCard = std::map<std::string, std::map<int, Held>>;  // by node, by index

bool terminal(const json::value& pod) {
    const std::string_view phase = json::get_string(pod, {"status", "phase"});
    return phase == "Succeeded" || phase == "Failed";
}

int number(std::string_view text) {
    int value = -1;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// The pods of the load have one container, "main".
ByCard held_by(const std::vector<json::value>& pods, std::vector<std::string>& broken) {
    ByCard out;
    for (const json::value& pod : pods) {
        const std::string node(json::get_string(pod, {"spec", "nodeName"}));
        if (node.empty() || terminal(pod)) continue;
        const std::string name(json::get_string(pod, {"metadata", "name"}));
        std::string_view cards =
            json::get_string(pod, {"metadata", "annotations", "nano-gpu/container-main"});
        if (cards.empty()) broken.push_back("pod " + name + " is bound to no card");
        const auto* containers = json::get_array(pod, {"spec", "containers"});
        const int percent =
            containers == nullptr
                ? 0
                : number(json::get_string(
                      containers->front(), {"resources", "limits", "nano-gpu/gpu-percent"}
                  ));
        while (!cards.empty()) {
            const std::size_t comma = cards.find(',');
            Held& held = out[node][number(cards.substr(0, comma))];
            held.percent += percent >= 100 ? 100 : percent;
            held.pods.emplace(json::get_string(pod, {"metadata", "uid"}));
            cards = comma == std::string_view::npos ? "" : cards.substr(comma + 1);
        }
    }
    return out;
}

}  // namespace

std::vector<std::string> broken_promises(const std::vector<json::value>& pods) {
    std::vector<std::string> broken;
    for (const auto& [node, cards] : held_by(pods, broken)) {
        for (const auto& [index, held] : cards) {
            if (held.percent <= 100) continue;
            broken.push_back(
                "card " + std::to_string(index) + " of " + node + " carries " +
                std::to_string(held.percent) + " percent"
            );
        }
    }
    return broken;
}

std::vector<std::string> disagreements(
    const json::value& status, const std::vector<json::value>& pods
) {
    std::vector<std::string> out;
    const ByCard truth = held_by(pods, out);
    const auto* nodes = status.if_object();
    if (nodes == nullptr) return {"/status is no object"};
    std::set<std::string> seen;
    for (const auto& [key, node] : *nodes) {
        const std::string name(key);
        seen.insert(name);
        if (const auto* unplaced = json::get_array(node, {"Unplaced"});
            unplaced != nullptr && !unplaced->empty()) {
            out.push_back(name + ": " + std::to_string(unplaced->size()) + " pods without cards");
        }
        const auto* cards = json::get_array(node, {"GPUs"});
        if (cards == nullptr) continue;
        const auto here = truth.find(name);
        for (const json::value& card : *cards) {
            const int index = static_cast<int>(json::get_int(card, {"Index"}).value_or(-1));
            const int used = 100 - static_cast<int>(json::get_int(card, {"Percent"}).value_or(0));
            Held held;
            if (here != truth.end()) {
                const auto at = here->second.find(index);
                if (at != here->second.end()) held = at->second;
            }
            const std::string where = name + " card " + std::to_string(index);
            if (used != held.percent) {
                out.push_back(
                    where + ": " + std::to_string(used) + " percent in the ledger, " +
                    std::to_string(held.percent) + " by the pods"
                );
            }
            const auto* holders = json::get_array(card, {"Holders"});
            if (holders == nullptr) continue;
            for (const json::value& holder : *holders) {
                const std::string uid(json::get_string(holder, {"UID"}));
                if (json::get_bool(holder, {"Reserved"})) out.push_back(where + ": reserved");
                if (!held.pods.contains(uid)) out.push_back(where + ": held by " + uid);
            }
        }
    }
    for (const auto& [node, cards] : truth) {
        if (!seen.contains(node)) out.push_back("node " + node + " is not in the ledger");
    }
    return out;
}

}  // namespace egpu::sim::load
