#include "cli/check_profiles.h"

#include <string>

namespace egpu::cli {
namespace {

constexpr Key kProfileKeys[] = {
    {"schedulerName", KeyType::kText},
    {"percentageOfNodesToScore", KeyType::kInteger},
    {"plugins", KeyType::kMap},
    {"pluginConfig", KeyType::kList}};
constexpr Key kPointKeys[] = {
    {"preEnqueue", KeyType::kMap},
    {"queueSort", KeyType::kMap},
    {"preFilter", KeyType::kMap},
    {"filter", KeyType::kMap},
    {"postFilter", KeyType::kMap},
    {"preScore", KeyType::kMap},
    {"score", KeyType::kMap},
    {"reserve", KeyType::kMap},
    {"permit", KeyType::kMap},
    {"preBind", KeyType::kMap},
    {"bind", KeyType::kMap},
    {"postBind", KeyType::kMap},
    {"multiPoint", KeyType::kMap},
    {"placementGenerate", KeyType::kMap},
    {"placementScore", KeyType::kMap}};
constexpr Key kPluginSetKeys[] = {{"enabled", KeyType::kList}, {"disabled", KeyType::kList}};
constexpr Key kPluginKeys[] = {{"name", KeyType::kText}, {"weight", KeyType::kInteger}};
constexpr Key kPluginConfigKeys[] = {{"name", KeyType::kText}, {"args", KeyType::kMap}};

// With the other plugins' 1200 it outweighs a step of edge-gpu's score at its usual weight, 2000.
constexpr std::int64_t kCompetingWeight = 8;

void report_spreading(std::string path, int line, std::string what, Findings& findings) {
    findings.warning(
        "least-allocated",
        path,
        line,
        std::move(what) +
            " prefers the emptiest nodes, against every policy of edge-gpu but spread; the higher "
            "weight wins",
        "scoringStrategy type MostAllocated, or a weight below 8, or edge-gpu scheduler --policy "
        "spread"
    );
}

void check_score_plugins(const Fields& set, Findings& findings) {
    const Node* enabled = set.node("enabled");
    for (std::size_t i = 0; enabled != nullptr && i < enabled->items.size(); ++i) {
        const Node& item = enabled->items[i];
        if (!item.is_map()) continue;
        const Fields plugin(
            item, kPluginKeys, index_path(set.path("enabled"), i), Strictness::kRefuses, findings
        );
        const std::string name = plugin.text("name").value_or("");
        if (name == "NodeResourcesLeastAllocated") {
            report_spreading(plugin.path("name"), plugin.line("name"), name, findings);
        } else if (name == "NodeResourcesFit" && plugin.integer("weight").value_or(1) >= kCompetingWeight) {
            report_spreading(
                plugin.path("weight"),
                plugin.line("weight"),
                "NodeResourcesFit with weight " + std::to_string(*plugin.integer("weight")),
                findings
            );
        }
    }
}

// Does the profile's pluginConfig give NodeResourcesFit another strategy than LeastAllocated?
std::string fit_strategy(const Node* configs) {
    for (std::size_t i = 0; configs != nullptr && i < configs->items.size(); ++i) {
        const Node* name = configs->items[i].find("name");
        const Node* args = configs->items[i].find("args");
        const Node* strategy = args == nullptr ? nullptr : args->find("scoringStrategy");
        const Node* type = strategy == nullptr ? nullptr : strategy->find("type");
        if (name != nullptr && name->text == "NodeResourcesFit" && type != nullptr)
            return type->text;
    }
    return "";
}

void check_plugin_configs(const Fields& profile, Findings& findings) {
    const Node* configs = profile.node("pluginConfig");
    for (std::size_t i = 0; configs != nullptr && i < configs->items.size(); ++i) {
        const Node& item = configs->items[i];
        if (!item.is_map()) continue;
        const Fields config(
            item,
            kPluginConfigKeys,
            index_path(profile.path("pluginConfig"), i),
            Strictness::kRefuses,
            findings
        );
        const Node* args = config.node("args");
        const Node* strategy = args == nullptr ? nullptr : args->find("scoringStrategy");
        const Node* type = strategy == nullptr ? nullptr : strategy->find("type");
        if (config.text("name") != "NodeResourcesFit" || type == nullptr) continue;
        if (type->text != "LeastAllocated") continue;
        report_spreading(
            config.path("args.scoringStrategy.type"),
            type->line,
            "NodeResourcesFit with LeastAllocated",
            findings
        );
    }
}

void check_plugins(const Fields& profile, Findings& findings) {
    const Node* plugins = profile.node("plugins");
    if (plugins == nullptr) return;
    const Fields points(
        *plugins, kPointKeys, profile.path("plugins"), Strictness::kRefuses, findings
    );
    const std::string strategy = fit_strategy(profile.node("pluginConfig"));
    for (const Key& point : kPointKeys) {
        const Node* node = points.node(point.name);
        if (node == nullptr) continue;
        const Fields set(
            *node, kPluginSetKeys, points.path(point.name), Strictness::kRefuses, findings
        );
        // With a strategy of its own, pluginConfig is where it is judged.
        const bool scores = point.name == "score" || point.name == "multiPoint";
        if (scores && strategy.empty()) check_score_plugins(set, findings);
    }
}

}  // namespace

void check_percentage(const Fields& fields, bool missing_is_bad, Findings& findings) {
    constexpr std::string_view kName = "percentageOfNodesToScore";
    if (fields.has(kName) && !fields.integer(kName)) return;  // its type is wrong
    if (!fields.has(kName) && !missing_is_bad) return;
    const std::int64_t value = fields.integer(kName).value_or(0);
    if (value == 100) return;
    if (value < 0 || value > 100) {
        findings.error(
            "percentage",
            fields.path(kName),
            fields.line(kName),
            std::to_string(value) + " is not within 0 to 100; kube-scheduler refuses the file",
            "percentageOfNodesToScore: 100"
        );
        return;
    }
    findings.warning(
        "percentage",
        fields.path(kName),
        fields.line(kName),
        (fields.has(kName) ? std::to_string(value) + ": " : std::string("not set: ")) +
            "on clusters of 100 nodes and more kube-scheduler stops looking once it has found some "
            "nodes, so "
            "edge-gpu does not see the one that packs best",
        "percentageOfNodesToScore: 100"
    );
}

void check_profiles(const Node& list, Findings& findings) {
    for (std::size_t i = 0; i < list.items.size(); ++i) {
        const Node& item = list.items[i];
        if (!item.is_map()) continue;
        const Fields profile(
            item, kProfileKeys, index_path("profiles", i), Strictness::kRefuses, findings
        );
        check_percentage(profile, false, findings);
        check_plugins(profile, findings);
        check_plugin_configs(profile, findings);
    }
}

}  // namespace egpu::cli
