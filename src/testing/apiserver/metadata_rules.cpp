#include "testing/apiserver/metadata_rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <mutex>
#include <random>

#include "base/random.h"
#include "testing/apiserver/object.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kAnnotationBytes = 256U << 10;
constexpr std::string_view kInvalidValue = "FieldValueInvalid";

std::uint64_t random_word() {
    static std::mutex mutex;
    static Random random{
        (static_cast<std::uint64_t>(std::random_device{}()) << 32) | std::random_device{}()};
    const std::lock_guard lock(mutex);
    return random();
}

bool alnum(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0;
}
bool lower_alnum(char c) {
    return alnum(c) && std::isupper(static_cast<unsigned char>(c)) == 0;
}

bool dns_label(std::string_view s) {
    return !s.empty() && s.size() <= 63 && lower_alnum(s.front()) && lower_alnum(s.back()) &&
           std::all_of(s.begin(), s.end(), [](char c) { return lower_alnum(c) || c == '-'; });
}

bool dns_subdomain(std::string_view s) {
    if (s.empty() || s.size() > 253) return false;
    for (std::size_t from = 0; from <= s.size();) {
        const std::size_t dot = std::min(s.find('.', from), s.size());
        const std::string_view part = s.substr(from, dot - from);
        if (part.empty() || !lower_alnum(part.front()) || !lower_alnum(part.back())) return false;
        if (!std::all_of(part.begin(), part.end(), [](char c) {
                return lower_alnum(c) || c == '-';
            }))
            return false;
        from = dot + 1;
    }
    return true;
}

bool name_characters(std::string_view s) {
    return !s.empty() && alnum(s.front()) && alnum(s.back()) &&
           std::all_of(s.begin(), s.end(), [](char c) {
               return alnum(c) || c == '-' || c == '_' || c == '.';
           });
}

// What is wrong with a label or annotation key; "" when nothing is.
std::string qualified_name_fault(std::string_view key, bool fold_case) {
    std::string_view name = key;
    if (const std::size_t slash = key.find('/'); slash != std::string_view::npos) {
        std::string prefix(key.substr(0, slash));
        if (fold_case) {
            for (char& c : prefix)
                c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
        name = key.substr(slash + 1);
        if (prefix.empty()) return "prefix part must be non-empty";
        if (!dns_subdomain(prefix))
            return "prefix part a lowercase RFC 1123 subdomain must consist of lower case "
                   "alphanumeric characters, '-' or '.', and must start and end with an "
                   "alphanumeric character";
    }
    if (name.empty()) return "name part must be non-empty";
    if (name.size() > 63) return "name part must be no more than 63 characters";
    if (!name_characters(name))
        return "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
               "and end with an alphanumeric character";
    return "";
}

std::string quoted(std::string_view s) {
    return "\"" + std::string(s) + "\"";
}

void drop_nulls(json::value& v) {
    if (v.is_array()) {
        for (auto& item : v.get_array()) drop_nulls(item);
        return;
    }
    if (!v.is_object()) return;
    auto& fields = v.get_object();
    std::vector<std::string> gone;
    for (auto& field : fields) {
        if (field.value().is_null())
            gone.emplace_back(field.key());
        else
            drop_nulls(field.value());
    }
    for (const auto& key : gone) fields.erase(key);
}

Verdict wrong_type(const Resource& resource, std::string_view field, std::string_view wanted) {
    return status::bad_request(
        std::string(resource.kind) + " in version " + quoted(resource.version) +
        " cannot be handled as a " + std::string(resource.kind) + ": " + std::string(field) +
        " must be " + std::string(wanted)
    );
}

Verdict check_string_map(
    const Resource& resource, const json::object& metadata, std::string_view field
) {
    const json::value* map = metadata.if_contains(field);
    if (map == nullptr) return {};
    if (!map->is_object())
        return wrong_type(resource, "metadata." + std::string(field), "a map of strings");
    for (const auto& entry : map->get_object()) {
        if (!entry.value().is_string())
            return wrong_type(
                resource,
                "metadata." + std::string(field) + "[" + quoted(entry.key()) + "]",
                "a string"
            );
    }
    return {};
}

void check_map_keys(
    const json::object* map,
    const std::string& field,
    bool fold_case,
    std::vector<StatusCause>& causes
) {
    if (map == nullptr) return;
    for (const auto& entry : *map) {
        const auto fault = qualified_name_fault(entry.key(), fold_case);
        if (fault.empty()) continue;
        causes.push_back(
            {std::string(kInvalidValue),
             "Invalid value: " + quoted(entry.key()) + ": " + fault,
             field}
        );
    }
}

}  // namespace

std::string timestamp_now(std::int64_t offset_s) {
    const std::time_t now = std::time(nullptr) + offset_s;
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), size};
}

std::string new_uid() {
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string uid;
    std::uint64_t word = 0;
    for (int i = 0; i < 32; ++i) {
        if (i % 16 == 0) word = random_word();
        auto nibble = static_cast<unsigned>(word & 15U);
        word >>= 4;
        if (i == 12) nibble = 4;
        if (i == 16) nibble = 8 | (nibble & 3U);
        if (i == 8 || i == 12 || i == 16 || i == 20) uid += '-';
        uid += kHex[nibble];
    }
    return uid;
}

Verdict normalise_shape(const Resource& resource, json::value& doc) {
    if (!doc.is_object()) return wrong_type(resource, "the body", "an object");
    drop_nulls(doc);
    auto& fields = doc.get_object();
    for (const std::string_view part : {"metadata", "spec", "status"}) {
        if (const json::value* v = fields.if_contains(part); v != nullptr && !v->is_object())
            return wrong_type(resource, part, "an object");
    }
    const json::object& metadata = metadata_of(doc);
    for (const std::string_view text :
         {"name", "namespace", "generateName", "uid", "resourceVersion"}) {
        if (const json::value* v = metadata.if_contains(text); v != nullptr && !v->is_string())
            return wrong_type(resource, "metadata." + std::string(text), "a string");
    }
    if (auto wrong = check_string_map(resource, metadata, "labels")) return wrong;
    return check_string_map(resource, metadata, "annotations");
}

Verdict match_request(
    const Resource& resource, std::string_view name_space, std::string_view name, json::value& doc
) {
    const auto kind = json::get_string(doc, {"kind"});
    const auto api_version = json::get_string(doc, {"apiVersion"});
    if ((!kind.empty() && kind != resource.kind) ||
        (!api_version.empty() && api_version != resource.group_version())) {
        return status::bad_request(
            std::string(kind) + " in version " + quoted(api_version) + " cannot be handled as a " +
            std::string(resource.kind) + " of " + resource.group_version()
        );
    }
    auto& metadata = metadata_of(doc);
    const auto own_space = json::get_string(doc, {"metadata", "namespace"});
    if (!resource.namespaced) {
        metadata.erase("namespace");
    } else if (own_space.empty()) {
        set_string(metadata, "namespace", name_space);
    } else if (own_space != name_space) {
        return status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        );
    }
    if (name.empty()) return {};
    const auto own_name = json::get_string(doc, {"metadata", "name"});
    if (own_name.empty()) {
        set_string(metadata, "name", name);
    } else if (own_name != name) {
        return status::bad_request(
            "the name of the object (" + std::string(own_name) +
            ") does not match the name on the URL (" + std::string(name) + ")"
        );
    }
    return {};
}

void fill_new_metadata(json::value& doc) {
    static constexpr std::string_view kSuffix = "bcdfghjklmnpqrstvwxz2456789";
    auto& metadata = metadata_of(doc);
    const std::string name(json::get_string(doc, {"metadata", "name"}));
    const std::string base(json::get_string(doc, {"metadata", "generateName"}));
    if (name.empty() && !base.empty()) {
        std::string made = base.substr(0, 58);
        for (int i = 0; i < 5; ++i) made += kSuffix[random_word() % kSuffix.size()];
        set_string(metadata, "name", made);
    }
    for (const std::string_view server_side :
         {"deletionTimestamp",
          "deletionGracePeriodSeconds",
          "selfLink",
          "resourceVersion",
          "managedFields"})
        metadata.erase(server_side);
    set_string(metadata, "uid", new_uid());
    set_string(metadata, "creationTimestamp", timestamp_now());
}

std::vector<StatusCause> check_metadata(const Resource& resource, const json::value& doc) {
    std::vector<StatusCause> causes;
    const auto name = json::get_string(doc, {"metadata", "name"});
    if (name.empty()) {
        causes.push_back(
            {"FieldValueRequired",
             "Required value: name or generateName is required",
             "metadata.name"}
        );
    } else if (resource.kind == "Namespace" || resource.kind == "Service" ? !dns_label(name) : !dns_subdomain(name)) {
        causes.push_back(
            {std::string(kInvalidValue),
             "Invalid value: " + quoted(name) +
                 ": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                 "characters, '-' or '.', and must start and end with an alphanumeric character",
             "metadata.name"}
        );
    }
    const auto* labels = json::get_object(doc, {"metadata", "labels"});
    const auto* annotations = json::get_object(doc, {"metadata", "annotations"});
    check_map_keys(labels, "metadata.labels", false, causes);
    check_map_keys(annotations, "metadata.annotations", true, causes);
    if (labels != nullptr) {
        for (const auto& label : *labels) {
            const std::string_view v = label.value().get_string();
            if (v.empty() || (v.size() <= 63 && name_characters(v))) continue;
            causes.push_back(
                {std::string(kInvalidValue),
                 "Invalid value: " + quoted(v) +
                     ": a valid label must be an empty string or consist of at most 63 "
                     "alphanumeric characters, '-', '_' or '.'",
                 "metadata.labels"}
            );
        }
    }
    std::size_t bytes = 0;
    if (annotations != nullptr) {
        for (const auto& a : *annotations) bytes += a.key().size() + a.value().get_string().size();
    }
    if (bytes > kAnnotationBytes)
        causes.push_back(
            {"FieldValueTooLong",
             "Too long: may not be more than 262144 bytes",
             "metadata.annotations"}
        );
    return causes;
}

std::vector<StatusCause> check_metadata_update(
    const json::value& before, const json::value& after
) {
    std::vector<StatusCause> causes;
    for (const std::string_view field : {"name", "namespace", "uid", "creationTimestamp"}) {
        const auto was = json::get_string(before, {"metadata", field});
        const auto is = json::get_string(after, {"metadata", field});
        if (was == is) continue;
        causes.push_back(
            {std::string(kInvalidValue),
             "Invalid value: " + quoted(is) + ": field is immutable",
             "metadata." + std::string(field)}
        );
    }
    return causes;
}

}  // namespace egpu::testing
