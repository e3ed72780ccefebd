#include "sim/demo_pods.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sim/kubelet_objects.h"

namespace egpu::sim {

namespace {

using Strings = std::map<std::string, std::string>;

json::value container(
    const std::string& name,
    const std::string& resource = "",
    const std::string& amount = "",
    bool sidecar = false
) {
    json::object out{{"name", name}, {"image", "registry.example/" + name + ":1"}};
    if (!resource.empty()) out["resources"] = {{"limits", {{resource, amount}}}};
    if (sidecar) out["restartPolicy"] = "Always";
    return out;
}

json::value pod(
    const std::string& name,
    json::array containers,
    const Strings& annotations = {},
    json::array init_containers = {},
    const std::string& site = ""
) {
    json::object notes;
    for (const auto& [key, value] : annotations) notes[key] = value;
    json::object spec{{"containers", std::move(containers)}};
    if (!init_containers.empty()) spec["initContainers"] = std::move(init_containers);
    if (!site.empty()) spec["nodeSelector"] = json::object{{kLabelSite, site}};
    return {
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata", {{"name", name}, {"namespace", "default"}, {"annotations", std::move(notes)}}},
        {"spec", std::move(spec)}};
}

const char* const kPercent = "nano-gpu/gpu-percent";
const char* const kWhole = "nvidia.com/gpu";

// All cards of a pod, and the models they have.
std::vector<std::string> cards_of(const PodView& pod) {
    std::vector<std::string> out;
    if (!pod.placement) return out;
    for (const auto& c : pod.placement->containers) {
        for (const auto& card : c.cards) out.push_back(card.uuid);
    }
    return out;
}

std::string model_of(const ClusterView& view, const std::string& uuid) {
    for (const auto& node : view.nodes) {
        for (const auto& card : node.cards) {
            if (card.uuid == uuid) return card.model;
        }
    }
    return "";
}

std::string in_phase(const PodView& pod, const std::string& phase) {
    if (pod.phase == phase) return "";
    std::string out = "is " + pod.phase + ", not " + phase;
    if (!pod.message.empty()) out += " (" + pod.message + ")";
    return out;
}

std::string runs_on_cards(const PodView& pod, std::size_t count) {
    std::string problem = in_phase(pod, "Running");
    if (!problem.empty()) return problem;
    const auto cards = cards_of(pod);
    if (cards.size() == count) return "";
    return "has " + std::to_string(cards.size()) + " cards in its placement, not " +
           std::to_string(count);
}

auto runs(std::size_t cards) {
    return [cards](const PodView& pod, const ClusterView&) { return runs_on_cards(pod, cards); };
}

auto runs_on_model(std::size_t cards, const std::string& model) {
    return [cards, model](const PodView& pod, const ClusterView& view) {
        std::string problem = runs_on_cards(pod, cards);
        if (!problem.empty()) return problem;
        for (const std::string& uuid : cards_of(pod)) {
            const std::string found = model_of(view, uuid);
            if (found.find(model) == std::string::npos)
                return "runs on " + found + ", not on " + model;
        }
        return std::string();
    };
}

auto runs_alone(std::size_t cards) {
    return [cards](const PodView& pod, const ClusterView& view) {
        std::string problem = runs_on_cards(pod, cards);
        if (!problem.empty()) return problem;
        const auto own = cards_of(pod);
        for (const PodView& other : view.pods) {
            if (other.uid == pod.uid || !other.holds_cards()) continue;
            for (const std::string& uuid : cards_of(other)) {
                if (std::find(own.begin(), own.end(), uuid) != own.end()) {
                    return "shares its whole card " + uuid + " with " + other.key;
                }
            }
        }
        return std::string();
    };
}

auto waits_because(const std::string& part) {
    return [part](const PodView& pod, const ClusterView&) {
        std::string problem = in_phase(pod, "Pending");
        if (!problem.empty()) return problem;
        if (pod.message.find(part) == std::string::npos) {
            return "does not say \"" + part + "\" but \"" + pod.message + "\"";
        }
        return std::string();
    };
}

// Init containers are over when the containers start: their units serve again.
std::string same_card_again(const PodView& pod, const ClusterView&) {
    std::string problem = runs_on_cards(pod, 2);
    if (!problem.empty()) return problem;
    const auto cards = cards_of(pod);
    return cards[0] == cards[1] ? "" : "its container is not on the card of its init container";
}

std::string spread_apart(const PodView& pod, const ClusterView& view) {
    std::string problem = runs_on_cards(pod, 1);
    if (!problem.empty()) return problem;
    for (const PodView& other : view.pods) {
        if (other.key == "default/spread-a" && cards_of(other) == cards_of(pod)) {
            return "is on the card of spread-a";
        }
    }
    return "";
}

std::string has_memory_cap(const PodView& pod, const ClusterView&) {
    std::string problem = runs_on_cards(pod, 1);
    if (!problem.empty()) return problem;
    const auto mib = pod.placement->containers.front().cards.front().memory_mib;
    return mib == 4096 ? "" : "its memory cap is " + std::to_string(mib) + " MiB, not 4096";
}

std::string runs_without_cards(const PodView& pod, const ClusterView& view) {
    std::string problem = runs_on_cards(pod, 0);
    if (!problem.empty()) return problem;
    for (const auto& node : view.nodes) {
        for (const auto& status : node.pods) {
            if (status.uid != pod.uid) continue;
            for (const auto& c : status.containers) {
                if (!visible_devices(c).empty()) return "was given cards it did not ask for";
            }
        }
    }
    return "";
}

std::string finished(const PodView& pod, const ClusterView&) {
    return in_phase(pod, "Succeeded");
}

}  // namespace

std::vector<DemoPod> demo_pods() {
    const char* const kFactory = "factory";
    const char* const kDataCentre = "data-centre";
    const Strings t4{{"edge-gpu.io/gpu-model", "Tesla T4"}};
    const Strings spread{{"edge-gpu.io/policy", "spread"}};
    std::vector<DemoPod> out;
    const auto add = [&out](int wave, std::string about, json::value manifest, auto check) {
        const std::string name(json::get_string(manifest, {"metadata", "name"}));
        out.push_back({name, std::move(about), std::move(manifest), wave, std::move(check)});
    };
    // The sites leave both T4s with room, but neither with 60 percent.
    add(0,
        "60 percent of a Tesla T4",
        pod("t4-a", {container("main", kPercent, "60")}, t4),
        runs_on_model(1, "T4"));
    add(0,
        "60 percent of the other T4",
        pod("t4-b", {container("main", kPercent, "60")}, t4),
        runs_on_model(1, "T4"));
    add(1,
        "the guide: one whole card",
        pod("guide-whole", {container("cuda", kWhole, "1")}),
        runs_alone(1));
    add(1,
        "the guide: 20 percent of a card",
        pod("guide-share", {container("cuda", kPercent, "20")}),
        runs(1));
    add(1,
        "two containers, 30 and 40 percent",
        pod("two-containers",
            {container("front", kPercent, "30"), container("back", kPercent, "40")},
            {},
            {},
            kFactory),
        runs(2));
    add(1,
        "a sidecar with 10 beside 30 percent",
        pod("with-sidecar",
            {container("main", kPercent, "30")},
            {},
            {container("proxy", kPercent, "10", true)},
            kFactory),
        runs(2));
    add(1,
        "an init container, then the main one, 50 percent each",
        pod("with-init",
            {container("main", kPercent, "50")},
            {},
            {container("warm-up", kPercent, "50")},
            kFactory),
        same_card_again);
    add(1,
        "60 percent of an A10",
        pod("only-a10",
            {container("main", kPercent, "60")},
            {{"edge-gpu.io/gpu-model", "A10|Tesla P40"}}),
        runs_on_model(1, "A10"));
    add(1,
        "200 percent: two whole cards",
        pod("whole-by-percent", {container("train", kPercent, "200")}, {}, {}, kDataCentre),
        runs_alone(2));
    add(1,
        "three whole cards of one node",
        pod("three-whole", {container("train", kWhole, "3")}, {}, {}, kDataCentre),
        runs_alone(3));
    add(1,
        "25 percent with at most 4 GiB",
        pod("memory-cap",
            {container("main", kPercent, "25")},
            {{"edge-gpu.io/memory", "4Gi"}},
            {},
            kDataCentre),
        has_memory_cap);
    add(1,
        "30 percent for two seconds, then done",
        pod("finishes",
            {container("job", kPercent, "30")},
            {{std::string(kAnnotationRunFor), "2s"}},
            {},
            kDataCentre),
        finished);
    add(1,
        "10 percent, spread",
        pod("spread-a", {container("main", kPercent, "10")}, spread),
        runs(1));
    add(1, "asks for no GPU", pod("no-gpu", {container("web")}), runs_without_cards);
    add(2,
        "10 percent, spread: on another card",
        pod("spread-b", {container("main", kPercent, "10")}, spread),
        spread_apart);
    add(2,
        "60 percent of a T4: cannot fit, and says why",
        pod("no-room", {container("main", kPercent, "60")}, t4),
        waits_because("no card with 60 percent free"));
    add(2,
        "150 percent: neither a share nor whole cards",
        pod("bad-request", {container("main", kPercent, "150")}),
        waits_because("neither 1..100 nor a multiple of 100"));
    return out;
}

}  // namespace egpu::sim
