#include "testing/apiserver/patch.h"

#include <charconv>

namespace egpu::testing {
namespace {

std::vector<std::string> split_pointer(std::string_view pointer) {
    std::vector<std::string> steps;
    while (!pointer.empty()) {
        pointer.remove_prefix(1);
        const std::size_t slash = std::min(pointer.find('/'), pointer.size());
        std::string step;
        for (std::size_t i = 0; i < slash; ++i) {
            if (pointer[i] == '~' && i + 1 < slash) {
                ++i;
                step += pointer[i] == '1' ? '/' : '~';
            } else {
                step += pointer[i];
            }
        }
        steps.push_back(std::move(step));
        pointer.remove_prefix(slash);
    }
    return steps;
}

// Array index, `size` for "-"; -1 when out of range (0..most).
std::int64_t array_index(std::string_view step, std::size_t size, std::size_t most) {
    if (step == "-") return size <= most ? static_cast<std::int64_t>(size) : -1;
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
    if (error != std::errc() || end != step.data() + step.size() || index > most) return -1;
    return static_cast<std::int64_t>(index);
}

json::value* step_into(json::value& at, const std::string& step) {
    if (at.is_object()) return at.get_object().if_contains(step);
    if (at.is_array() && !at.get_array().empty()) {
        auto& items = at.get_array();
        const auto index = array_index(step, items.size(), items.size() - 1);
        return index < 0 ? nullptr : &items[static_cast<std::size_t>(index)];
    }
    return nullptr;
}

// The place that holds the last step; nullptr when a step before it is missing.
json::value* walk(json::value& root, const std::vector<std::string>& steps, std::size_t count) {
    json::value* at = &root;
    for (std::size_t i = 0; i < count && at != nullptr; ++i) at = step_into(*at, steps[i]);
    return at;
}

bool add_at(json::value& root, const std::vector<std::string>& steps, json::value v) {
    if (steps.empty()) {
        root = std::move(v);
        return true;
    }
    json::value* parent = walk(root, steps, steps.size() - 1);
    if (parent == nullptr) return false;
    if (parent->is_object()) {
        parent->get_object()[steps.back()] = std::move(v);
        return true;
    }
    if (!parent->is_array()) return false;
    auto& items = parent->get_array();
    const auto index = array_index(steps.back(), items.size(), items.size());
    if (index < 0) return false;
    items.insert(items.begin() + index, std::move(v));
    return true;
}

bool remove_at(json::value& root, const std::vector<std::string>& steps) {
    if (steps.empty()) return false;
    json::value* parent = walk(root, steps, steps.size() - 1);
    if (parent == nullptr) return false;
    if (parent->is_object()) return parent->get_object().erase(steps.back()) > 0;
    if (!parent->is_array() || parent->get_array().empty()) return false;
    auto& items = parent->get_array();
    const auto index = array_index(steps.back(), items.size(), items.size() - 1);
    if (index < 0) return false;
    items.erase(items.begin() + index);
    return true;
}

ApiStatus operation_failed(std::string_view op, std::string_view path, std::string_view why) {
    return status::of_code(
        422,
        "the server rejected our request due to an error in our request: " + std::string(op) +
            " operation on \"" + std::string(path) + "\": " + std::string(why)
    );
}

Verdict apply_operation(json::value& doc, const json::value& operation) {
    const std::string_view op = json::get_string(operation, {"op"});
    const std::string_view path = json::get_string(operation, {"path"});
    if (!path.empty() && path[0] != '/')
        return status::bad_request("a JSON pointer starts with '/': " + std::string(path));
    const auto steps = split_pointer(path);
    const json::value* given = json::find(operation, {"value"});
    if (op == "remove") {
        if (!remove_at(doc, steps)) return operation_failed(op, path, "nothing is there");
        return {};
    }
    if (op == "move" || op == "copy") {
        const auto from = split_pointer(json::get_string(operation, {"from"}));
        const json::value* source = walk(doc, from, from.size());
        if (source == nullptr) return operation_failed(op, path, "nothing is at \"from\"");
        json::value moved = *source;
        if (op == "move" && !remove_at(doc, from))
            return operation_failed(op, path, "cannot be moved");
        if (!add_at(doc, steps, std::move(moved)))
            return operation_failed(op, path, "the parent does not exist");
        return {};
    }
    if (op != "add" && op != "replace" && op != "test")
        return status::bad_request("unknown JSON patch operation \"" + std::string(op) + "\"");
    if (given == nullptr) return operation_failed(op, path, "it has no value");
    if (op == "add") {
        if (!add_at(doc, steps, *given))
            return operation_failed(op, path, "the parent does not exist");
        return {};
    }
    json::value* target = walk(doc, steps, steps.size());
    if (target == nullptr) return operation_failed(op, path, "nothing is there");
    if (op == "replace") {
        *target = *given;
    } else if (*target != *given) {
        return operation_failed(op, path, "the value differs");
    }
    return {};
}

}  // namespace

Outcome<json::value> json_patch(const json::value& document, const json::value& patch) {
    if (!patch.is_array()) return status::bad_request("a JSON patch is an array of operations");
    json::value doc = document;
    for (const auto& operation : patch.get_array()) {
        if (auto failed = apply_operation(doc, operation)) return *failed;
    }
    return doc;
}

json::value merge_patch(json::value document, const json::value& patch) {
    if (!patch.is_object()) return patch;
    if (!document.is_object()) document.emplace_object();
    auto& fields = document.get_object();
    for (const auto& change : patch.get_object()) {
        if (change.value().is_null()) {
            fields.erase(change.key());
            continue;
        }
        json::value& slot = fields[change.key()];
        slot = merge_patch(std::move(slot), change.value());
    }
    return document;
}

}  // namespace egpu::testing
