// Strategic merge patch. Which lists merge, and by which key, is a fact of the Go types' struct
// tags; the table names the fields of the kinds this server knows. Lists not in it are replaced as
// a whole.
#include <algorithm>

#include "testing/apiserver/patch.h"

namespace egpu::testing {
namespace {

struct MergeKey {
    std::string_view field;
    std::string_view key;  // "" = a list of plain values, merged as a set
};

constexpr MergeKey kMergeKeys[] = {
    {"containers", "name"},
    {"initContainers", "name"},
    {"ephemeralContainers", "name"},
    {"volumes", "name"},
    {"env", "name"},
    {"volumeMounts", "mountPath"},
    {"volumeDevices", "devicePath"},
    {"imagePullSecrets", "name"},
    {"secrets", "name"},
    {"hostAliases", "ip"},
    {"topologySpreadConstraints", "topologyKey"},
    {"resourceClaims", "name"},
    {"schedulingGates", "name"},
    {"conditions", "type"},
    {"addresses", "type"},
    {"podIPs", "ip"},
    {"hostIPs", "ip"},
    {"ownerReferences", "uid"},
    {"finalizers", ""},
};

constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDeleteValues = "$deleteFromPrimitiveList/";

// The merge key of the list `field`; ports are keyed by containerPort in containers and by port in
// services.
const std::string_view* merge_key(std::string_view field, const json::array& items) {
    static constexpr std::string_view kContainerPort = "containerPort";
    static constexpr std::string_view kPort = "port";
    if (field == "ports") {
        for (const auto& item : items) {
            if (json::find(item, {kContainerPort}) != nullptr) return &kContainerPort;
        }
        return &kPort;
    }
    for (const auto& entry : kMergeKeys) {
        if (entry.field == field) return &entry.key;
    }
    return nullptr;
}

Verdict merge_object(json::object& target, const json::object& patch);

json::value strip_directives(const json::value& v) {
    if (v.is_array()) {
        json::array out;
        for (const auto& item : v.get_array()) {
            if (json::find(item, {"$patch"}) == nullptr) out.push_back(strip_directives(item));
        }
        return out;
    }
    if (!v.is_object()) return v;
    json::object out;
    for (const auto& field : v.get_object()) {
        if (!field.key().starts_with('$') && !field.value().is_null())
            out[field.key()] = strip_directives(field.value());
    }
    return out;
}

json::value* find_item(json::array& items, std::string_view key, const json::value& wanted) {
    for (auto& item : items) {
        const json::value* id = json::find(item, {key});
        if (id != nullptr && *id == wanted) return &item;
    }
    return nullptr;
}

Verdict merge_items(json::array& target, const json::array& patch, std::string_view key) {
    for (const auto& change : patch) {
        if (json::get_string(change, {"$patch"}) == "replace") {
            target = strip_directives(patch).get_array();
            return {};
        }
    }
    for (const auto& change : patch) {
        if (!change.is_object())
            return status::bad_request(
                "strategic merge patch: a list merged by \"" + std::string(key) +
                "\" has an item that is no object"
            );
        const json::value* id = json::find(change, {key});
        if (id == nullptr)
            return status::bad_request(
                "strategic merge patch: map: " + json::to_text(change) +
                " does not contain declared merge key: " + std::string(key)
            );
        json::value* existing = find_item(target, key, *id);
        if (json::get_string(change, {"$patch"}) == "delete") {
            if (existing != nullptr) target.erase(existing);
        } else if (existing == nullptr || !existing->is_object()) {
            target.push_back(strip_directives(change));
        } else if (auto failed = merge_object(existing->get_object(), change.get_object())) {
            return failed;
        }
    }
    return {};
}

// Puts the items that `order` names into its order; those it does not name keep their places behind
// the item they followed.
void sort_items(json::array& items, const json::array& order, std::string_view key) {
    const auto rank = [&](const json::value& item) -> std::ptrdiff_t {
        const json::value* id = key.empty() ? &item : json::find(item, {key});
        for (std::size_t i = 0; id != nullptr && i < order.size(); ++i) {
            const json::value* wanted = key.empty() ? &order[i] : json::find(order[i], {key});
            if (wanted != nullptr && *wanted == *id) return static_cast<std::ptrdiff_t>(i);
        }
        return -1;
    };
    std::vector<std::pair<std::ptrdiff_t, json::value>> ranked;
    std::ptrdiff_t last = -1;
    for (const auto& item : items) {
        const auto own = rank(item);
        if (own >= 0) last = own;
        ranked.emplace_back(last, item);
    }
    std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
        return a.first < b.first;
    });
    items.clear();
    for (auto& [unused, item] : ranked) items.push_back(std::move(item));
}

Verdict merge_list(json::object& target, std::string_view field, const json::array& changes) {
    json::value& slot = target[field];
    const std::string_view* key = merge_key(field, changes);
    if (key == nullptr || !slot.is_array()) {
        slot = strip_directives(changes);
        return {};
    }
    auto& items = slot.get_array();
    if (!key->empty()) return merge_items(items, changes, *key);
    for (const auto& v : changes) {
        if (std::find(items.begin(), items.end(), v) == items.end()) items.push_back(v);
    }
    return {};
}

void retain_only(json::object& target, const json::array& keys) {
    std::vector<std::string> gone;
    for (const auto& field : target) {
        const auto same = [&](const json::value& key) {
            return key.is_string() && key.get_string() == field.key();
        };
        if (std::none_of(keys.begin(), keys.end(), same)) gone.emplace_back(field.key());
    }
    for (const auto& key : gone) target.erase(key);
}

void apply_list_directives(json::object& target, const json::object& patch) {
    for (const auto& change : patch) {
        const std::string_view name(change.key().data(), change.key().size());
        if (!change.value().is_array()) continue;
        const auto& listed = change.value().get_array();
        if (name.starts_with(kDeleteValues)) {
            json::value* list = target.if_contains(name.substr(kDeleteValues.size()));
            if (list == nullptr || !list->is_array()) continue;
            json::array kept;
            for (const auto& v : list->get_array()) {
                if (std::find(listed.begin(), listed.end(), v) == listed.end()) kept.push_back(v);
            }
            *list = std::move(kept);
        } else if (name.starts_with(kOrder)) {
            const std::string_view field = name.substr(kOrder.size());
            json::value* list = target.if_contains(field);
            const std::string_view* key = merge_key(field, listed);
            if (list != nullptr && list->is_array() && key != nullptr)
                sort_items(list->get_array(), listed, *key);
        }
    }
}

Verdict merge_object(json::object& target, const json::object& patch) {
    if (const json::value* directive = patch.if_contains("$patch")) {
        const std::string_view word =
            directive->is_string() ? std::string_view(directive->get_string()) : "";
        if (word == "replace" || word == "delete") {
            target.clear();
            if (word == "replace") target = strip_directives(patch).get_object();
            return {};
        }
        if (word != "merge")
            return status::bad_request(
                "strategic merge patch: unknown $patch directive " + json::to_text(*directive)
            );
    }
    if (const json::value* keys = patch.if_contains("$retainKeys"); keys && keys->is_array())
        retain_only(target, keys->get_array());
    for (const auto& change : patch) {
        const std::string_view name(change.key().data(), change.key().size());
        const json::value& v = change.value();
        if (name.starts_with('$')) continue;
        if (v.is_null()) {
            target.erase(name);
        } else if (v.is_object()) {
            json::value& slot = target[name];
            if (!slot.is_object()) slot.emplace_object();
            if (auto failed = merge_object(slot.get_object(), v.get_object())) return failed;
        } else if (v.is_array()) {
            if (auto failed = merge_list(target, name, v.get_array())) return failed;
        } else {
            target[name] = v;
        }
    }
    apply_list_directives(target, patch);
    return {};
}

}  // namespace

Outcome<json::value> strategic_merge_patch(json::value document, const json::value& patch) {
    if (!patch.is_object() || !document.is_object())
        return status::bad_request("a strategic merge patch is an object");
    if (auto failed = merge_object(document.get_object(), patch.get_object())) return *failed;
    return document;
}

}  // namespace egpu::testing
