#include "testing/apiserver/selectors.h"

#include <algorithm>
#include <cctype>

namespace egpu::testing {
namespace {

std::string_view trim(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
        text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
        text.remove_suffix(1);
    return text;
}

// Splits at commas that are not inside parentheses.
std::vector<std::string_view> split_terms(std::string_view text) {
    std::vector<std::string_view> parts;
    int depth = 0;
    std::size_t start = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i == text.size() || (text[i] == ',' && depth == 0)) {
            if (const auto part = trim(text.substr(start, i - start)); !part.empty())
                parts.push_back(part);
            start = i + 1;
        } else if (text[i] == '(') {
            ++depth;
        } else if (text[i] == ')') {
            --depth;
        }
    }
    return parts;
}

struct Comparison {
    std::string_view key;
    std::string_view value;
    bool equal = true;
    bool found = false;
};

Comparison split_comparison(std::string_view term) {
    const std::size_t at = term.find_first_of("=!");
    if (at == std::string_view::npos || at == 0) return {};
    Comparison c;
    c.key = trim(term.substr(0, at));
    if (term[at] == '!') {
        if (at + 1 >= term.size() || term[at + 1] != '=') return {};
        c.equal = false;
        c.value = trim(term.substr(at + 2));
    } else {
        const bool twice = at + 1 < term.size() && term[at + 1] == '=';
        c.value = trim(term.substr(at + (twice ? 2 : 1)));
    }
    c.found = true;
    return c;
}

std::string value_text(const json::value* v, std::string_view last_key) {
    if (v == nullptr || v->is_null()) return last_key == "unschedulable" ? "false" : "";
    if (v->is_string()) return std::string(v->get_string());
    if (v->is_object()) return "";
    return json::to_text(*v);
}

}  // namespace

Outcome<LabelSelector::Term> LabelSelector::parse_term(std::string_view text) {
    Term term;
    if (const Comparison c = split_comparison(text); c.found) {
        term.key = c.key;
        term.op = c.equal ? Op::kIn : Op::kNotIn;
        term.values.emplace_back(c.value);
        return term;
    }
    if (text.front() == '!') {
        term.key = trim(text.substr(1));
        term.op = Op::kNotExists;
    } else if (const std::size_t open = text.find('('); open != std::string_view::npos) {
        const std::string_view head = trim(text.substr(0, open));
        const std::size_t space = head.find_last_of(" \t");
        if (text.back() != ')' || space == std::string_view::npos)
            return status::bad_request("unable to parse requirement: " + std::string(text));
        const std::string_view word = head.substr(space + 1);
        if (word != "in" && word != "notin")
            return status::bad_request("unable to parse requirement: " + std::string(text));
        term.op = word == "in" ? Op::kIn : Op::kNotIn;
        term.key = trim(head.substr(0, space));
        std::string_view values = text.substr(open + 1, text.size() - open - 2);
        for (const auto part : split_terms(values)) term.values.emplace_back(part);
    } else {
        term.key = text;
    }
    if (term.key.empty() || term.key.find_first_of(" \t=!()") != std::string::npos)
        return status::bad_request("unable to parse requirement: " + std::string(text));
    return term;
}

Outcome<LabelSelector> LabelSelector::parse(std::string_view text) {
    LabelSelector selector;
    for (const auto part : split_terms(text)) {
        auto term = parse_term(part);
        if (!term) return term.failure();
        selector.terms_.push_back(std::move(*term));
    }
    return selector;
}

bool LabelSelector::matches(const Object& object) const {
    if (terms_.empty()) return true;
    const json::object* labels = json::get_object(object.doc(), {"metadata", "labels"});
    return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
        const json::value* found = labels == nullptr ? nullptr : labels->if_contains(term.key);
        const bool exists = found != nullptr && found->is_string();
        if (term.op == Op::kExists) return exists;
        if (term.op == Op::kNotExists) return !exists;
        const bool in = exists && std::any_of(term.values.begin(), term.values.end(), [&](auto& v) {
                            return found->get_string() == std::string_view(v);
                        });
        return term.op == Op::kIn ? in : !in;
    });
}

Outcome<FieldSelector> FieldSelector::parse(const Resource& resource, std::string_view text) {
    FieldSelector selector;
    for (const auto part : split_terms(text)) {
        const Comparison c = split_comparison(part);
        if (!c.found) {
            return status::bad_request(
                "invalid selector: '" + std::string(text) + "'; can't understand '" +
                std::string(part) + "'"
            );
        }
        const bool known = c.key == "metadata.name" ||
                           (c.key == "metadata.namespace" && resource.namespaced) ||
                           std::find(resource.fields.begin(), resource.fields.end(), c.key) !=
                               resource.fields.end();
        if (!known) {
            return status::bad_request(
                "Unable to find \"" + resource.group_version() +
                ", Resource=" + std::string(resource.plural) +
                "\" that match label selector \"\", field selector \"" + std::string(text) +
                "\": field label not supported: " + std::string(c.key)
            );
        }
        Term term;
        term.equal = c.equal;
        term.value = c.value;
        const std::string_view key = c.key == "source" ? "source.component" : c.key;
        for (std::size_t from = 0; from <= key.size();) {
            const std::size_t dot = std::min(key.find('.', from), key.size());
            term.path.emplace_back(key.substr(from, dot - from));
            from = dot + 1;
        }
        selector.terms_.push_back(std::move(term));
    }
    return selector;
}

bool FieldSelector::matches(const Object& object) const {
    return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
        const json::value* at = &object.doc();
        for (const auto& key : term.path) {
            at = at->is_object() ? at->get_object().if_contains(key) : nullptr;
            if (at == nullptr) break;
        }
        if (at != nullptr && at->is_string()) {
            return (at->get_string() == std::string_view(term.value)) == term.equal;
        }
        return (value_text(at, term.path.back()) == term.value) == term.equal;
    });
}

bool Selection::matches(const Object& object) const {
    return (name_space.empty() || object.name_space() == name_space) &&
           (name.empty() || object.name() == name) && labels.matches(object) &&
           fields.matches(object);
}

}  // namespace egpu::testing
