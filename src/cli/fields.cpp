#include "cli/fields.h"

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "cli/spelling.h"
#include "flags/values.h"

namespace egpu::cli {
namespace {

constexpr std::size_t kLongestShown = 80;

bool is_plain_key(std::string_view key) {
    return !key.empty() && key.size() <= kLongestShown &&
           std::all_of(key.begin(), key.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '.' || c == '/';
           });
}

bool same_but_for_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               const auto lower = [](char c) {
                   return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
               };
               return lower(x) == lower(y);
           });
}

const char* type_name(KeyType type) {
    switch (type) {
        case KeyType::kText:
            return "text";
        case KeyType::kInteger:
            return "a whole number without quotes";
        case KeyType::kNumber:
            return "a number without quotes";
        case KeyType::kBool:
            return "true or false without quotes";
        case KeyType::kDuration:
            return "a duration";
        case KeyType::kList:
            return "a list";
        case KeyType::kMap:
            return "a map";
        case KeyType::kAny:
            break;
    }
    return "a value";
}

bool fits(const Node& node, KeyType type) {
    switch (type) {
        case KeyType::kText:
            return node.as_text().has_value();
        case KeyType::kInteger:
            return node.as_integer().has_value();
        case KeyType::kNumber:
            return node.kind == Node::Kind::kScalar && !node.quoted &&
                   flags::to_number<double>(node.text).has_value();
        case KeyType::kBool:
            return node.as_bool().has_value();
        case KeyType::kDuration:
            return node.kind == Node::Kind::kScalar;  // which unit is for its own check
        case KeyType::kList:
            return node.is_list();
        case KeyType::kMap:
            return node.is_map();
        case KeyType::kAny:
            break;
    }
    return true;
}

}  // namespace

std::string shown(std::string_view text) {
    std::string out;
    json::append_quoted(out, text.substr(0, kLongestShown));
    if (text.size() > kLongestShown) out += "…";
    return out;
}

std::string join_path(std::string_view parent, std::string_view key) {
    std::string out(parent);
    if (!out.empty()) out += ".";
    return out + (is_plain_key(key) ? std::string(key) : shown(key));
}

std::string index_path(std::string_view list, std::size_t index) {
    return std::string(list) + "[" + std::to_string(index) + "]";
}

Fields::Fields(
    const Node& map,
    std::span<const Key> keys,
    std::string path,
    Strictness strictness,
    Findings& findings
)
    : map_(map), path_(std::move(path)) {
    for (const Entry& entry : map.entries) take(entry, keys, strictness, findings);
}

void Fields::take(
    const Entry& entry, std::span<const Key> keys, Strictness strictness, Findings& findings
) {
    const bool any_case = strictness == Strictness::kIgnoresAnyCase;
    std::vector<std::string_view> names;
    for (const Key& key : keys) {
        if (entry.key == key.name || (any_case && same_but_for_case(entry.key, key.name))) {
            keep(entry, key, strictness, findings);
            if (entry.key == key.name) return;
            findings.warning(
                "key-case",
                join_path(path_, entry.key),
                entry.line,
                "is written " + std::string(key.name) +
                    "; kube-scheduler takes other cases in the extenders of a Policy only",
                "write " + std::string(key.name)
            );
            return;
        }
        names.push_back(key.name);
    }
    const std::string where = join_path(path_, entry.key);
    const std::string effect =
        any_case ? "kube-scheduler ignores it, so what it was meant to set is not set"
                 : "kube-scheduler refuses a file with a key it does not know";
    const std::string_view meant = closest(entry.key, names);
    if (meant.empty()) {
        // It may be a key of a later Kubernetes.
        findings.warning(
            "unknown-key",
            where,
            entry.line,
            "no known key; " + effect,
            "remove it, or check its name"
        );
        return;
    }
    findings.error(
        "unknown-key",
        where,
        entry.line,
        "no known key; " + effect,
        "did you mean " + std::string(meant) + "?"
    );
    if (nodes_.contains(meant) || map_.find(meant) != nullptr) return;
    const auto key =
        std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.name == meant; });
    const bool usable = !entry.value.is_null() && fits(entry.value, key->type);
    nodes_[std::string(meant)] = Found{&entry, usable};
}

void Fields::keep(const Entry& entry, const Key& key, Strictness strictness, Findings& findings) {
    const std::string where = join_path(path_, entry.key);
    if (const auto before = nodes_.find(key.name); before != nodes_.end()) {
        findings.error(
            "duplicate-key",
            where,
            entry.line,
            strictness == Strictness::kRefuses
                ? "the key is there twice (first on line " +
                      std::to_string(before->second.entry->line) +
                      "); kube-scheduler refuses such a file"
                : "the key is there twice; only one of the two has an effect",
            "remove one of the two"
        );
        return;
    }
    const bool absent = entry.value.is_null();  // null is the same as absent
    const bool usable = !absent && fits(entry.value, key.type);
    if (!usable && !absent) {
        const std::string what = entry.value.is_list()  ? "a list"
                                 : entry.value.is_map() ? "a map"
                                                        : (entry.value.quoted ? "the text " : "") +
                                                              shown(entry.value.text);
        findings.error(
            "type",
            where,
            entry.line,
            what + " is not " + type_name(key.type) + "; kube-scheduler refuses the file",
            std::string("write ") + type_name(key.type)
        );
    }
    nodes_[std::string(key.name)] = Found{&entry, usable};
}

bool Fields::has(std::string_view name) const {
    const auto found = nodes_.find(name);
    return found != nodes_.end() && !found->second.entry->value.is_null();
}

const Node* Fields::node(std::string_view name) const {
    const auto found = nodes_.find(name);
    return found == nodes_.end() || !found->second.usable ? nullptr : &found->second.entry->value;
}

std::optional<std::string> Fields::text(std::string_view name) const {
    const Node* found = node(name);
    return found == nullptr ? std::nullopt : found->as_text();
}

std::optional<std::int64_t> Fields::integer(std::string_view name) const {
    const Node* found = node(name);
    return found == nullptr ? std::nullopt : found->as_integer();
}

bool Fields::flag(std::string_view name) const {
    const Node* found = node(name);
    return found != nullptr && found->as_bool().value_or(false);
}

std::string Fields::path(std::string_view name) const {
    return join_path(path_, name);
}

int Fields::line(std::string_view name) const {
    const auto found = nodes_.find(name);
    return found == nodes_.end() ? map_.line : found->second.entry->line;
}

}  // namespace egpu::cli
