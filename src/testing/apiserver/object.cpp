#include "testing/apiserver/object.h"

#include "base/check.h"

namespace egpu::testing {

Object::Object(const Resource& resource, json::value doc, std::uint64_t revision)
    : resource_(&resource), doc_(std::move(doc)), revision_(revision) {
    EG_CHECK(doc_.is_object());
    doc_.get_object().erase("kind");
    doc_.get_object().erase("apiVersion");
    if (revision_ != 0) set_string(metadata_of(doc_), "resourceVersion", std::to_string(revision_));
}

const std::string& Object::text() const {
    std::call_once(once_, [this] { text_ = json::to_text(doc_); });
    return text_;
}

void Object::append_full_text(std::string& out) const {
    out += R"({"kind":")";
    out += resource_->kind;
    out += R"(","apiVersion":")";
    out += resource_->group_version();
    out += "\"";
    const std::string& body = text();
    if (body.size() > 2) out += ',';
    out.append(body, 1, std::string::npos);
}

std::string Object::full_text() const {
    std::string out;
    out.reserve(text().size() + 64);
    append_full_text(out);
    return out;
}

json::value Object::full_doc() const {
    json::object out;
    out["kind"] = resource_->kind;
    out["apiVersion"] = resource_->group_version();
    for (const auto& field : doc_.get_object()) out[field.key()] = field.value();
    return out;
}

std::string object_key(std::string_view name_space, std::string_view name) {
    std::string key;
    key.reserve(name_space.size() + name.size() + 1);
    if (!name_space.empty()) {
        key += name_space;
        key += '/';
    }
    key += name;
    return key;
}

json::object& child_object(json::object& parent, std::string_view key) {
    json::value& slot = parent[key];
    if (!slot.is_object()) slot.emplace_object();
    return slot.get_object();
}

json::object& metadata_of(json::value& doc) {
    if (!doc.is_object()) doc.emplace_object();
    return child_object(doc.get_object(), "metadata");
}

bool has_finalizers(const json::value& doc) {
    const json::array* finalizers = json::get_array(doc, {"metadata", "finalizers"});
    return finalizers != nullptr && !finalizers->empty();
}

void set_string(json::object& in, std::string_view key, std::string_view value) {
    in[key] = value;
}

}  // namespace egpu::testing
