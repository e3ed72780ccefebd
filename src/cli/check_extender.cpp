#include "cli/check_extender.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>

#include "core/request.h"

namespace egpu::cli {

using core::kResourcePercent;
using core::kResourceWhole;

namespace {

// The two kinds of file spell one key differently.
constexpr std::array<Key, 12> keys_with(std::string_view enable_https) {
    return {{
        {"urlPrefix", KeyType::kText},
        {"filterVerb", KeyType::kText},
        {"prioritizeVerb", KeyType::kText},
        {"bindVerb", KeyType::kText},
        {"preemptVerb", KeyType::kText},
        {"weight", KeyType::kInteger},
        {enable_https, KeyType::kBool},
        {"tlsConfig", KeyType::kMap},
        {"httpTimeout", KeyType::kDuration},
        {"nodeCacheCapable", KeyType::kBool},
        {"managedResources", KeyType::kList},
        {"ignorable", KeyType::kBool},
    }};
}
constexpr auto kConfigurationKeys = keys_with("enableHTTPS");
constexpr auto kPolicyKeys = keys_with("enableHttps");

// The scores of the other plugins sum up to 1200 (MaxNodeScore 100 times the default weights), one
// step of the extender's 0..10 counts ten times its weight: from here on edge-gpu's choice stands.
constexpr std::int64_t kOthersSum = 1200;
constexpr std::int64_t kLeastWeight = kOthersSum / 10 + 1;
constexpr std::int64_t kGoodWeight = 200;

struct Verb {
    const char* key;
    const char* value;
    bool required;
    const char* when_missing;
};
constexpr Verb kVerbs[] = {
    {"filterVerb",
     "filter",
     true,
     "edge-gpu is never asked which nodes have a card with room, so pods land where none is"},
    {"prioritizeVerb",
     "priorities",
     false,
     "edge-gpu's placement policy has no say in which node is taken"},
    {"bindVerb",
     "bind",
     true,
     "pods are bound without a placement: edge-gpu neither reserves the card nor writes it down"},
    {"preemptVerb",
     "preempt",
     false,
     "preemption may evict pods whose going frees no card that fits"}};

// One entry of the list, with what tells whether it is ours.
struct Extender {
    Fields fields;
    std::vector<ManagedResource> resources;
    std::string url;
    bool binds = false;

    // How much it looks like edge-gpu's entry; 0 is not at all.
    int likeness() const;
};

int Extender::likeness() const {
    int points = 0;
    if (url.find(":39999") != std::string::npos || url.find("gpu-scheduler") != std::string::npos ||
        url.find("edge-gpu") != std::string::npos) {
        points += 2;
    }
    for (const ManagedResource& resource : resources) {
        const std::string_view meant = meant_resource(resource.name);
        if (resource.name == kResourcePercent || meant == kResourcePercent) points += 3;
        if (resource.name == kResourceWhole || meant == kResourceWhole) points += 1;
        if (is_left_over_resource(resource.name)) points += 1;
    }
    // Nothing says otherwise: it manages no resource by name.
    if (points == 0 && resources.empty() && !fields.has("managedResources")) points = 1;
    return points;
}

void check_verbs(const Fields& extender, Findings& findings) {
    for (const Verb& verb : kVerbs) {
        const std::string path = extender.path(verb.key);
        const int line = extender.line(verb.key);
        const std::string fix = std::string(verb.key) + ": " + verb.value;
        const auto value = extender.text(verb.key);
        if (!extender.has(verb.key) || (value && value->empty())) {
            if (verb.required) {
                findings.error(
                    "verb-missing", path, line, std::string("not set: ") + verb.when_missing, fix
                );
            } else {
                findings.warning(
                    "verb-missing", path, line, std::string("not set: ") + verb.when_missing, fix
                );
            }
        } else if (value && *value != verb.value) {
            findings.error(
                "verb-wrong",
                path,
                line,
                shown(*value) +
                    " is no path of edge-gpu's: it is appended to urlPrefix, and the call ends in "
                    "404",
                fix
            );
        }
    }
}

void check_weight(const Fields& extender, bool ours, Findings& findings) {
    const auto verb = extender.text("prioritizeVerb");
    if (!verb || verb->empty()) return;  // kube-scheduler does not look at the weight then
    if (extender.has("weight") && !extender.integer("weight")) return;
    const std::int64_t weight = extender.integer("weight").value_or(0);
    const std::string path = extender.path("weight");
    const int line = extender.line("weight");
    const std::string fix = "weight: " + std::to_string(kGoodWeight);
    if (weight <= 0) {
        findings.error(
            "weight",
            path,
            line,
            "with prioritizeVerb the weight must be above 0; kube-scheduler refuses the file",
            fix
        );
    } else if (ours && weight < kLeastWeight) {
        findings.warning(
            "weight-small",
            path,
            line,
            std::to_string(weight) + " drowns: a step of edge-gpu's score counts " +
                std::to_string(weight * 10) + ", the scores of the other plugins sum up to " +
                std::to_string(kOthersSum),
            fix
        );
    }
}

void check_behaviour(const Fields& extender, const CheckOptions& options, Findings& findings) {
    if (extender.flag("ignorable")) {
        findings.error(
            "ignorable",
            extender.path("ignorable"),
            extender.line("ignorable"),
            "while edge-gpu is away, pods are scheduled without it; from Kubernetes 1.30 on they "
            "are bound, too, "
            "without a card",
            "ignorable: false"
        );
    }
    const bool wrong_type =
        extender.has("nodeCacheCapable") && extender.node("nodeCacheCapable") == nullptr;
    if (!extender.flag("nodeCacheCapable") && !wrong_type) {
        std::string effect =
            "every call carries whole Node objects instead of names, megabytes on a large cluster";
        if (options.minor.value_or(30) >= 30) {
            effect +=
                "; from Kubernetes 1.30 on the answer's nodes also lose their pods, so other "
                "plugins score "
                "them as empty";
        }
        findings.warning(
            "node-cache",
            extender.path("nodeCacheCapable"),
            extender.line("nodeCacheCapable"),
            "not true: " + effect,
            "nodeCacheCapable: true"
        );
    }
}

void check_binders(const std::vector<Extender>& extenders, Findings& findings) {
    const Extender* first = nullptr;
    for (const Extender& extender : extenders) {
        if (!extender.binds) continue;
        if (first != nullptr) {
            findings.error(
                "two-binders",
                extender.fields.path("bindVerb"),
                extender.fields.line("bindVerb"),
                "a second extender with bindVerb (the first is on line " +
                    std::to_string(first->fields.line("bindVerb")) +
                    "); kube-scheduler refuses the file",
                "keep bindVerb on edge-gpu's entry only"
            );
            return;
        }
        first = &extender;
    }
}

void check_duplicates(const std::vector<Extender>& extenders, Findings& findings) {
    std::map<std::string, std::string, std::less<>> seen;  // name -> where
    for (const Extender& extender : extenders) {
        for (const ManagedResource& resource : extender.resources) {
            const auto [at, fresh] = seen.emplace(resource.name, resource.path);
            if (fresh) continue;
            findings.error(
                "resource-duplicate",
                resource.path,
                resource.line,
                shown(resource.name) + " is managed already by " + at->second +
                    "; kube-scheduler refuses the file",
                "name it once, under edge-gpu's entry"
            );
        }
    }
}

void check_ours(
    const Fields& extender, ConfigKind kind, const CheckOptions& options, Findings& findings
) {
    check_url(extender, kind, options, findings);
    check_verbs(extender, findings);
    check_timeout(extender, kind, findings);
    check_behaviour(extender, options, findings);
    check_resources(extender, findings);
}

}  // namespace

void check_extenders(
    const Node* list,
    std::string_view path,
    int line,
    ConfigKind kind,
    const CheckOptions& options,
    Findings& findings
) {
    std::vector<Extender> extenders;
    const bool policy = kind == ConfigKind::kPolicy;
    for (std::size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
        const Node& item = list->items[i];
        const std::string item_path = index_path(path, i);
        if (!item.is_map()) {
            findings.error(
                "type",
                item_path,
                item.line,
                "an extender is a map; kube-scheduler refuses the file",
                "write its keys: urlPrefix, filterVerb, …"
            );
            continue;
        }
        Fields fields(
            item,
            policy ? kPolicyKeys : kConfigurationKeys,
            item_path,
            policy ? Strictness::kIgnoresAnyCase : Strictness::kRefuses,
            findings
        );
        Extender extender{std::move(fields), {}, "", false};
        extender.resources = managed_resources(extender.fields, &findings);
        extender.url = extender.fields.text("urlPrefix").value_or("");
        extender.binds = !extender.fields.text("bindVerb").value_or("").empty();
        extenders.push_back(std::move(extender));
    }
    const auto ours = std::max_element(
        extenders.begin(),
        extenders.end(),
        [](const Extender& a, const Extender& b) { return a.likeness() < b.likeness(); }
    );
    const bool there = ours != extenders.end() && ours->likeness() > 0;
    for (auto extender = extenders.begin(); extender != extenders.end(); ++extender) {
        check_weight(extender->fields, there && extender == ours, findings);
    }
    check_binders(extenders, findings);
    check_duplicates(extenders, findings);
    if (there) {
        check_ours(ours->fields, kind, options, findings);
        return;
    }
    findings.error(
        "no-extender",
        path,
        line,
        "no extender manages nano-gpu/gpu-percent: kube-scheduler does not call edge-gpu at all",
        "add the entry that edge-gpu scheduler-config prints"
    );
}

}  // namespace egpu::cli
